"""Cases of inventories and settings: what loads is found, and what cannot work is refused with a remedy."""

from pathlib import Path

import pytest

from app.actuation.admission import refusal
from app.config.inventory import Pop, load_pop
from app.config.settings import load
from app.contract.schemas import NaturalExit, Override, SourcePath
from app.errors import ConfigError
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path as BgpPath
from app.te.routing.rib import Rib
from tests.pops import INVENTORY

DATA = Path(__file__).parent / "data"
PREFIX = "203.0.113.0/24"
MEMBER = "198.51.100.40"


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_pop(path)
    return caught.value.problems


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    """The demo's inventory with these changes, each at its first place."""
    text = INVENTORY.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "pop.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_case_50_addresses_are_compared_as_addresses() -> None:
    pop = load_pop(DATA / "50-ipv6-addresses-in-other-spellings" / "input.toml")
    link = "rhv1000/r1/et-0/0/1"
    assert pop.router_by_agent["2001:db8::a1"] == "r1"
    assert pop.link_by_session["r1", "2001:db8::31"] == link
    assert pop.link_by_next_hop["r1", "2001:db8:0:1::1"] == link


@pytest.mark.parametrize(
    ("key", "written", "kept"),
    [
        # RFC 5952 section 4.2.2: a single group of zeros is not shortened, as glibc's inet_ntop has it for pmacct.
        ("peer", "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("peer", "2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        # RFC 5952 section 4.2.3: of two runs of the same length the first is shortened.
        ("peer", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        # RFC 4291 section 2.2 (3): the last 32 bits may be written as IPv4.
        ("peer", "64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        # Junos prints link-local peers in lower case, IOS in upper case; BMP has 16 bytes.
        ("peer", "FE80::A", "fe80::a"),
        ("agent_address", "2001:0db8:00f3::00aB", "2001:db8:f3::ab"),
        ("ibgp_address", "2001:DB8:0:0:0:0:0:11", "2001:db8::11"),
        ("loopback6", "2001:0DB8:FFFF::0011", "2001:db8:ffff::11"),
        ("address", "2001:DB8::21", "2001:db8::21"),  # of the injector
        ("next_hops", "2001:DB8:0:0001::1", "2001:db8:0:1::1"),
    ],
)
def test_every_address_is_kept_as_pmacct_prints_it(tmp_path: Path, key: str, written: str, kept: str) -> None:
    old = {
        "peer": '"127.0.0.31"',
        "agent_address": '"192.0.2.1"',
        "ibgp_address": '"127.0.0.11"',
        "loopback6": '"2001:db8:ffff::11"',
        "address": '"127.0.0.21"',
        "next_hops": '"2001:db8:0:1::1"',
    }[key]
    pop = load_pop(changed(tmp_path, (old, f'"{written}"')))
    router, session = pop.router[0], pop.link[0].sessions[0]
    found = {
        "peer": session.peer,
        "address": router.injector.address,
        "next_hops": session.next_hops[1],
    }.get(key) or getattr(router, key)
    assert found == kept


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        # rust-lang/rust pull request 86984, whitequark/ipaddr.js issue 16: 012 is 10 for inet_aton, 12 for a reader.
        ("192.0.2.010", "is not an IP address; write '192.0.2.10'"),
        # A dual-stack socket shows IPv4 senders so (RFC 4291 section 2.5.5.2); pmacct prints the IPv4 address.
        ("::ffff:192.0.2.1", "is an IPv4 address in IPv6; write '192.0.2.1'"),
        ("::ffff:c000:201", "is an IPv4 address in IPv6; write '192.0.2.1'"),
        ("::192.0.2.1", "is of an obsolete form; write '192.0.2.1'"),
        ("fe80::1%eth0", "has a zone; write 'fe80::1'"),  # RFC 4007: it means something on this host only
        ("[2001:db8::1]", "is not an IP address; write '2001:db8::1'"),
        ("2001:db8::1/64", "is not an IP address; write '2001:db8::1'"),
        (" 192.0.2.1", "is not an IP address; write '192.0.2.1'"),
        ("192.0.2.1/32", "is not an IP address; write '192.0.2.1'"),
        ("edge1.ams1", "is not an IP address; write its digits, not a name"),
        ("192.0.2", "is not an IP address"),
        ("0.0.0.0", "is not the address of one host"),
        ("ff02::1", "is not the address of one host"),
        ("255.255.255.255", "is not the address of one host"),
        ("", "is not an IP address"),
    ],
)
@pytest.mark.parametrize(
    ("key", "old"),
    [
        ("router[0].agent_address", '"192.0.2.1"'),
        ("router[0].injector.address", '"127.0.0.21"'),
        ("link[0].sessions[0].peer", '"127.0.0.31"'),
        ("link[0].sessions[0].next_hops[0]", '"198.51.100.1"'),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(
    tmp_path: Path, key: str, old: str, written: str, remedy: str
) -> None:
    assert problems_of(changed(tmp_path, (old, f'"{written}"'))) == [f"pop.toml.{key}: {written!r} {remedy}"]


def exchange(name: str) -> Pop:
    return load_pop(DATA / "51-exchange-with-two-route-servers" / name)


@pytest.mark.parametrize("name", ["input.toml", "workaround.toml"])
@pytest.mark.parametrize("peer", ["127.0.0.32", "127.0.0.38", MEMBER])
def test_case_51_a_member_is_a_target_by_every_session_of_the_port(name: str, peer: str) -> None:
    pop, rib = exchange(name), Rib()
    rib.peer_up("r1", peer, pop.asn_by_session["r1", peer])
    path = BgpPath(peer, MEMBER, (64640,))
    rib.update("r1", PREFIX, path)
    [target] = NaturalRouting(pop, rib).alternates(PREFIX)
    assert (target.exit.link, target.exit.peer, target.exit.next_hop) == ("rhv1000/r1/et-0/0/2", peer, MEMBER)
    override = Override(
        prefix=PREFIX,
        exit=target.exit,
        inject_on=("r1", "r2"),
        natural=(NaturalExit("r1", "rhv1000/r1/et-0/0/1", 1.0),),
        source_path=SourcePath(path.as_path, "igp"),
        bps=1e9,
        reason="congestion",
    )
    assert refusal(pop, override) is None


def test_what_telemetry_may_choose_the_actuator_takes_and_nothing_else() -> None:
    """RFC 4271 section 5.1.3 allows third-party next hops; that of another link leads out where nobody looked."""
    pop, rib = exchange("input.toml"), Rib()
    sessions = {session.peer: session for link in pop.link if link.router == "r1" for session in link.sessions}
    hops = {hop for session in sessions.values() for hop in session.next_hops} | {"198.51.100.99"}
    for peer, session in sessions.items():
        rib.peer_up("r1", peer, session.asn)
    for number, hop in enumerate(sorted(hops)):
        for peer in sessions:
            rib.update("r1", PREFIX, BgpPath(peer, hop, (64640,), path_id=number))
    chosen = {(target.exit.peer, target.exit.next_hop) for target in NaturalRouting(pop, rib).alternates(PREFIX)}
    link = pop.link[1]
    assert {(session.peer, hop) for session in link.sessions for hop in (MEMBER, "198.51.100.41")} <= chosen
    assert ("127.0.0.31", MEMBER) not in chosen, "the private peer announces a next hop of the exchange"
    assert (MEMBER, "198.51.100.1") not in chosen
    assert all(hop != "198.51.100.99" for _, hop in chosen)


def test_a_next_hop_of_two_links_is_refused(tmp_path: Path) -> None:
    """RFC 7948 section 4.8: whoever announces it, traffic to a next hop leaves by one port."""
    (said,) = problems_of(changed(tmp_path, ('"198.51.100.2"', '"198.51.100.1"')))
    assert said.startswith("pop.toml.link[1].sessions[0].next_hops[0]: '198.51.100.1' is also a next hop of link[0];")


@pytest.mark.parametrize("number", ["0", "m1", "1073741823", "8589934592"])
def test_case_52_interface_indexes_that_none_has(number: str) -> None:
    (said,) = problems_of(DATA / "52-interface-indexes-that-none-has" / f"input-{number}.toml")
    value = number.replace("m", "-")
    assert said.startswith(f"input-{number}.toml.link[0].ifindexes[0]: {value} ")
    assert "write" in said


@pytest.mark.parametrize("name", ["input-bom.toml", "input-crlf.toml", "input-utf8.toml"])
def test_case_55_files_as_editors_save_them(name: str) -> None:
    path = DATA / "55-files-as-editors-save-them" / name
    assert path.read_bytes() != INVENTORY.read_bytes()
    assert load_pop(path).name == "rhv1000"


def test_settings_as_editors_save_them(tmp_path: Path) -> None:
    (tmp_path / "rhv1000.toml").write_text(INVENTORY.read_text())
    path = tmp_path / "autopilot.toml"
    path.write_bytes(b'\xef\xbb\xbfpops = ["rhv1000.toml"]\r\n')
    assert list(load(path, {}).pops) == ["rhv1000"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # toml-lang/toml-test issue 172: PowerShell's > writes UTF-16.
        ('name = "a"'.encode("utf-16"), "line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        # herdrdev/herdr issue 3678: a program left a byte order mark in the middle of a file.
        (b'name = "a"\n\xef\xbb\xbfasn = 1\n', "line 2: '\\ufeffasn = 1' (it has U+FEFF, zero width no-break space)"),
        # From a wiki page: a space that is none, and quotation marks that are none.
        ("asn\u00a0= 64512\n".encode(), "line 1: 'asn\\xa0= 64512' (it has U+00A0, no-break space)"),
        (
            "name = \u201eams1\u201c\n".encode(),
            "line 1: 'name = \u201eams1\u201c' (it has U+201E, double low-9 quotation mark)",
        ),
    ],
)
def test_files_that_no_editor_shows_wrong(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "pop.toml"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert said in problem


def test_case_56_parallel_ports_are_one_link() -> None:
    folder = DATA / "56-peer-reached-over-two-links"
    pop = load_pop(folder / "input-one-link.toml")
    assert pop.link_by_interface["r1", 101] == pop.link_by_interface["r1", 104] == "rhv1000/r1/et-0/0/1"
    said = problems_of(folder / "input-two-links.toml")
    assert said[0].startswith("input-two-links.toml.link[2].sessions[0].peer: '127.0.0.31' of r1 is also on link[0].")
    assert "write one [[link]] with the ifindexes of all ports, their summed capacity_bps" in said[0]


MISTAKES = [
    # One mistake each: what was changed, and the key that must be named.
    ('own_prefixes = ["198.18.0.0/16", "2001:db8:1000::/40"]', "own_prefixes = []", "own_prefixes"),
    ('"198.18.0.0/16"', '"0.0.0.0/0"', "own_prefixes[0]"),
    ('"198.18.0.0/16"', '"128.0.0.0/1"', "own_prefixes[0]"),
    ('"2001:db8:1000::/40"', '"::/0"', "own_prefixes[1]"),
    ('"198.18.0.0/16"', '"198.18.0.0/15.0"', "own_prefixes[0]"),
    ("internal_ifindexes = [1]", "internal_ifindexes = []", "router[0].internal_ifindexes"),
    ("internal_ifindexes = [1]", "internal_ifindexes = [101]", "link[0].ifindexes[0]"),
    ("internal_ifindexes = [1]", "internal_ifindexes = [2]", "router[0].core.r2"),
    ("internal_ifindexes = [1]", "internal_ifindexes = [1, 1]", "router[0].internal_ifindexes[1]"),
    ('grpc = "unix:///run/autopilot/injector-r1.sock"', 'grpc = "203.0.113.101"', "router[0].injector.grpc"),
    ('grpc = "unix:///run/autopilot/injector-r1.sock"', 'grpc = "2001:db8::1:50051"', "router[0].injector.grpc"),
    ('grpc = "unix:///run/autopilot/injector-r1.sock"', 'grpc = "http://a:50051"', "router[0].injector.grpc"),
    ('grpc = "unix:///run/autopilot/injector-r1.sock"', 'grpc = "a:70000"', "router[0].injector.grpc"),
    (
        'grpc = "unix:///run/autopilot/injector-r1.sock"',
        'grpc = "unix://run/gobgpd.sock"',
        "router[0].injector.grpc",
    ),
    ('"2001:db8:ffff::11"', '"192.0.2.99"', "router[0].loopback6"),
    ('loopback4 = "192.0.2.11"', 'loopback4 = "2001:db8::9"', "router[0].loopback4"),
    ('loopback4 = "192.0.2.11"', 'loopback4 = "127.0.0.1"', "router[0].loopback4"),
    ('next_hops = ["198.51.100.1", "2001:db8:0:1::1"]', "next_hops = []", "link[0].sessions[0].next_hops"),
    ('"198.51.100.1"', '"127.0.0.1"', "link[0].sessions[0].next_hops[0]"),
    ('"198.51.100.1"', '"192.0.2.12"', "link[0].sessions[0].next_hops[0]"),  # loopback of r2: it does not lead out
    ('"2001:db8:0:1::1"', '"198.51.100.1"', "link[0].sessions[0].next_hops[1]"),
    ('peer = "127.0.0.31"', 'peer = "127.0.0.12"', "link[0].sessions[0].peer"),  # r2 itself
    ("asn = 64601", "asn = 64512", "link[0].sessions[0].asn"),
    # peeringdb/peeringdb issues 419 and 559 list the numbers that nobody has.
    ("asn = 64601", "asn = 0", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = 23456", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = 65535", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = 98764", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = 4294967295", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = 4294967296", "link[0].sessions[0].asn"),
    ("asn = 64601", "asn = -1", "link[0].sessions[0].asn"),
    ("asn = 64512", "asn = 65536000000", "asn"),
    ("core = { r2 = 2 }\n", "", "router[0].core"),
    ("igp_cost = { r2 = 10 }\n", "", "router[0].igp_cost"),
    ("igp_cost = { r2 = 10 }", "igp_cost = { r2 = -10 }", "router[0].igp_cost.r2"),
    ("core = { r2 = 2 }", "core = { r2 = 0 }", "router[0].core.r2"),
    ("local_pref = 300", "local_pref = -4", "link[0].local_pref"),
    ("local_pref = 300", "local_pref = 1000", "link[0].local_pref"),
    ("ifindexes = [101]", "ifindexes = [2147483648]", "link[0].ifindexes[0]"),
    ("ifindexes = [101]", "ifindexes = [-1]", "link[0].ifindexes[0]"),
    ("ifindexes = [101]", "ifindexes = []", "link[0].ifindexes"),
    ("ifindexes = [101]", "ifindexes = [102]", "link[1].ifindexes[0]"),
    # lausser/check_nwc_health issue 217, DataDog/datadog-agent pull request 48305: Mb/s or bytes where bits were meant.
    ("capacity_bps = 100e9", "capacity_bps = 100_000", "link[0].capacity_bps"),
    ("capacity_bps = 100e9", "capacity_bps = 40", "link[0].capacity_bps"),
    ("capacity_bps = 100e9", "capacity_bps = inf", "link[0].capacity_bps"),
    ('name = "et-0/0/1"', 'name = ""', "link[0].name"),
    ('name = "et-0/0/1"', 'name = "et-0/0/1 "', "link[0].name"),
    # gnuhpc/Kafka-zk-restapi issue 43: what a topic's name may not hold.
    ('name = "rhv1000"', 'name = "fra 2"', "name"),
    ('name = "rhv1000"', 'name = "*"', "name"),
    ('name = "rhv1000"', 'name = "f\u00fcrth"', "name"),
    ('name = "rhv1000"', f'name = "{"x" * 250}"', "name"),
    ('name = "r1"', 'name = "r1/re0"', "router[0].name"),
    ('bmp_sysname = "r1"', 'bmp_sysname = ""', "router[0].bmp_sysname"),
    ('bmp_sysname = "r2"', 'bmp_sysname = "r1"', "router[1].bmp_sysname"),
    ('agent_address = "192.0.2.2"', 'agent_address = "192.0.2.1"', "router[1].agent_address"),
    ('loopback4 = "192.0.2.12"', 'loopback4 = "192.0.2.11"', "router[1].loopback4"),
    ('ibgp_address = "127.0.0.12"', 'ibgp_address = "127.0.0.11"', "router[1].ibgp_address"),
    ('address = "127.0.0.21"', 'address = "127.0.0.11"', "router[0].injector.address"),
    ("injector-r2.sock", "injector-r1.sock", "router[1].injector.grpc"),
    ('router = "r1"', 'router = "r3"', "link[0].router"),
    ("max_moved_share = 0.40", "max_moved_share = 40", "budgets.max_moved_share"),
    ("max_moved_share = 0.40", "max_overrides = 1000", "router[0].maximum_prefix"),
]


@pytest.mark.parametrize(("old", "new", "key"), MISTAKES)
def test_a_single_mistake_of_an_inventory_is_named(tmp_path: Path, old: str, new: str, key: str) -> None:
    said = problems_of(changed(tmp_path, (old, new)))
    assert any(problem.startswith(f"pop.toml.{key}: ") for problem in said), said
    assert all(len(problem) < 400 and "`" not in problem for problem in said), "no library's text"


def test_all_mistakes_come_in_one_round(tmp_path: Path) -> None:
    """Settings and two inventories, shapes and values and references: nothing hides anything."""
    pop = changed(tmp_path, *[MISTAKES[index][:2] for index in (1, 14, 22, 35, 41)], ('kind = "pni"', "kind = 7"))
    other = tmp_path / "other.toml"
    other.write_text('name = "other 2"\nasn = 64512\n')
    settings = tmp_path / "autopilot.toml"
    settings.write_text(
        f'pops = ["{pop.name}", "{other.name}", "gone.toml"]\nspeed = 9\n[kafka]\nbroker = "::1:9092"\n'
        "replication_factor = 0\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(settings, {})
    begins = [
        "pop.toml.own_prefixes[0]: '0.0.0.0/0'",
        "pop.toml.router[0].loopback6: '192.0.2.99'",
        "pop.toml.link[0].kind: 7",
        "pop.toml.link[0].sessions[0].asn: 64512",
        "pop.toml.link[0].local_pref: -4",
        "pop.toml.link[0].capacity_bps: 100000",
        "other.toml.name: 'other 2'",
        "other.toml.router: is missing; write at least one table, each under its title in double brackets",
        f"{tmp_path}/gone.toml: cannot be read",
        "autopilot.toml.speed: unknown key",
        "autopilot.toml.kafka.broker: '::1:9092'",
        "autopilot.toml.kafka.replication_factor: 0",
    ]
    said = caught.value.problems
    assert [begin for begin in begins if not any(problem.startswith(begin) for problem in said)] == [], said
