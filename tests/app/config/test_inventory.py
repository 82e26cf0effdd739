"""Inventories: what is derived from them, and every mistake listed at once."""

from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.bgp.wire import community_number, community_text
from app.config.forms import LINK_ID_MAX
from app.config.inventory import Budgets, check_pop, load_pop
from app.errors import ConfigError
from tests.pops import INVENTORY, demo_pop


def test_lookups() -> None:
    pop = demo_pop()
    assert pop.link_by_interface["r2", 103] == "rhv1000/r2/et-0/0/3"
    assert (
        pop.link_by_next_hop["r1", "198.51.100.2"] == pop.link_by_session["r1", "127.0.0.32"] == "rhv1000/r1/et-0/0/2"
    )
    assert pop.ingress_by_interface["r1", 2] == "r2"
    assert pop.marker_community == "64512:911"
    assert check_pop(pop) == []


def write(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = INVENTORY.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "pop.toml"
    path.write_text(text)
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_pop(path)
    return caught.value.problems


def test_every_mistake_of_shape_is_listed_with_its_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("asn = 64512", 'asn = "64512"\ncolour = "blue"'),
        ('kind = "pni"', 'kind = "peering"'),
        ("capacity_bps = 100e9\n", ""),
        ("internal_ifindexes = [1]", "internal_ifindexes = 1"),
        ("core = { r2 = 2 }", "core = 2026-11-29"),
    )
    assert problems_of(path) == [
        "pop.toml.colour: unknown key; known: name, asn, own_prefixes, router, link, marker, marker_asn,"
        " override_local_pref, budgets, pinned_prefixes",
        "pop.toml.asn: '64512' is text; write 64512, without quotes",
        "pop.toml.router[0].internal_ifindexes: 1 is a whole number; write a list in brackets, [...]",
        "pop.toml.router[0].core: 2026-11-29 is a date or time; write a table, { key = value }",
        "pop.toml.link[0].kind: 'peering' is not one of pni, ixp, transit",
        "pop.toml.link[0].capacity_bps: is missing; write a number, without quotes",
    ]


def test_mistakes_of_shape_hide_none_between_keys(tmp_path: Path) -> None:
    """One round: what could be read is checked, whatever else is wrong."""
    path = write(
        tmp_path,
        ("asn = 64512", 'asn = "64512"'),
        ("ifindexes = [102]", 'ifindexes = [101, "ae1"]'),
        ('router = "r1"', 'router = "r9"'),
        ('loopback4 = "192.0.2.11"', 'loopback4 = "127.0.0.11"'),
        ("core = { r2 = 2 }", "core = { r7 = 2 }"),
        ('"198.18.0.0/16"', '"198.18.0.1/16"'),
        ("capacity_bps = 10e9", "capacity_bps = 0"),
        ('agent_address = "192.0.2.2"', 'agent_address = "192.0.2.1"'),
    )
    assert problems_of(path) == [
        "pop.toml.link[1].ifindexes[1]: interfaces of router r1 have no 'ae1'; known: none",
        "pop.toml.asn: '64512' is text; write 64512, without quotes",
        "pop.toml.own_prefixes[0]: '198.18.0.1/16' is not a prefix in canonical form; write '198.18.0.0/16'",
        "pop.toml.router[0].loopback4: '127.0.0.11' is no address that another router accepts as a next hop;"
        " write the one that iBGP uses",
        "pop.toml.link[3].capacity_bps: 0 is not a capacity in bits per second; for 100 Gb/s write 100e9"
        " (1e+06 to 1e+14)",
        "pop.toml.router[0].core.r7: 'r7' is not another router of this PoP; write one of r2",
        "pop.toml.router[1].agent_address: '192.0.2.1' is also router[0].agent_address;"
        " each of the two needs its own address",
        "pop.toml.link[0].router: 'r9' is no router of this PoP; write one of r1, r2",
    ]


def test_gobgpds_in_one_pod_speak_from_one_address(tmp_path: Path) -> None:
    pop = load_pop(write(tmp_path, ('address = "127.0.0.22"', 'address = "127.0.0.21"')))
    assert {router.injector.address for router in pop.router} == {"127.0.0.21"}
    assert problems_of(write(tmp_path, ('address = "127.0.0.22"', 'address = "127.0.0.11"'))) == [
        "pop.toml.router[1].injector.address: '127.0.0.11' is also router[0].ibgp_address;"
        " each of the two needs its own address"
    ]


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("198.18.0.1", "has no length; write '198.18.0.1/LENGTH'"),
        ("2001:DB8::", "has no length; write '2001:db8::/LENGTH'"),
        ("::ffff:192.0.2.0/120", "is an IPv4 prefix in IPv6; write '192.0.2.0/24'"),
        ("198.18.0.0/255.255.0.0", "is not a prefix in canonical form; write '198.18.0.0/16'"),
        ("198.18.0.1/16", "is not a prefix in canonical form; write '198.18.0.0/16'"),
        ("2001:DB8::/32", "is not a prefix in canonical form; write '2001:db8::/32'"),
        ("fe80::%eth0/64", "has a zone; write 'fe80::/64'"),
        ("ours", "is not a prefix; write ADDRESS/LENGTH"),
    ],
)
@pytest.mark.parametrize("key", ["own_prefixes", "pinned_prefixes"])
def test_prefixes_are_written_as_the_guards_read_them(key: str, prefix: str, remedy: str) -> None:
    pop = msgspec.structs.replace(demo_pop(), **{key: (prefix,)})
    assert check_pop(pop) == [f"{key}[0]: {prefix!r} {remedy}"]


def test_duplicates_are_named() -> None:
    pop = demo_pop()
    twice = msgspec.structs.replace(pop, link=(*pop.link, pop.link[0]))
    said = check_pop(twice)
    assert "link[6].name: 'r1/et-0/0/1' is given twice, first in link[0].name" in said
    assert "link[6].ifindexes[0]: 101 is also link[0].ifindexes[0] of r1; an ifIndex is one port" in said
    assert any(
        problem.startswith("link[6].sessions[0].peer: '127.0.0.31' of r1 is also on link[0]") for problem in said
    )


def test_the_id_of_a_link_fits_into_every_record(tmp_path: Path) -> None:
    """Readers of our topics take 512 characters; an id of a window or a congestion is that of its link, and more."""
    router, link = "r" * 200, "l" * (LINK_ID_MAX - len("rhv1000") - 200 - 2)
    text = INVENTORY.read_text().replace('"r1"', f'"{router}"').replace("r1 =", f"{router} =")
    path = tmp_path / "pop.toml"
    path.write_text(text.replace('"et-0/0/1"', f'"{link}"'))
    assert load_pop(path).links
    path.write_text(text.replace('"et-0/0/1"', f'"{link}l"'))
    assert problems_of(path) == [
        "pop.toml.link[0].name: makes POP/ROUTER/LINK 401 characters, which no record may have; write at most 400, with"
        " shorter names of the PoP, the router or the link"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        ('name = "a"\n# Z\u00fcrich'.encode("latin-1"), "line 2: byte 0xfc is not UTF-8; save the file as UTF-8"),
        ("asn = 1".encode("utf-16-le"), "not a text in UTF-8 (UTF-16, or no text at all); save the file as UTF-8"),
        (
            b"name = ",
            "not valid TOML: at its end; after = comes text in straight quotes",
        ),
        (
            "name = \u201ca\u201d\n".encode(),
            "not valid TOML: line 1: 'name = \u201ca\u201d' (it has U+201C, left double quotation mark); after = comes",
        ),
        (b"asn = 1\nasn = 2\n", "not valid TOML: line 2: 'asn = 2'; a key is given twice"),
        (b"asn = 064512\n", "not valid TOML: line 1: 'asn = 064512'; one key a line; a number has no leading zero"),
        (b"a = " + b"[" * 3000, "its lists or tables are nested too deep"),
    ],
)
def test_what_is_not_an_inventory(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "pop.toml"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: {said}")


def test_an_empty_file_lacks_every_key(tmp_path: Path) -> None:
    path = tmp_path / "pop.toml"
    path.write_bytes(b"")
    tables = "at least one table, each under its title in double brackets"
    lacks = {
        "name": "text in quotes",
        "asn": "a whole number, without quotes and without a point",
        "own_prefixes": "a list in brackets, [...]",
        "router": tables,
        "link": tables,
    }
    assert problems_of(path) == [f"pop.toml.{key}: is missing; write {how}" for key, how in lacks.items()]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in problems_of(tmp_path / "nowhere.toml")[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"asn": 4_200_000_001}, "marker_asn: must be set, because half a community cannot hold AS 4200000001"),
        ({"marker_asn": 65_535}, "marker_asn: 65535 is out of range; write a number from 1 to 65534"),
        ({"marker_asn": 0}, "marker_asn: 0 is out of range"),
        ({"marker": 65_536 + 911}, "marker: 66447 is out of range; write a number from 0 to 65535"),
        ({"marker": -1}, "marker: -1 is out of range"),
        ({"asn": 0}, "asn: 0 is no AS number"),
        ({"asn": 2**32, "marker_asn": 64_512}, "asn: 4294967296 is not an AS number; write one from 1 to 4294967295"),
        ({"override_local_pref": 300}, "link[0].local_pref: 300 must be below override_local_pref (300)"),
        ({"override_local_pref": 2**32}, "override_local_pref: 4294967296 is out of range"),
    ],
)
def test_a_route_of_ours_is_known_and_wins(changes: dict[str, Any], problem: str) -> None:
    assert problem in "\n".join(check_pop(msgspec.structs.replace(demo_pop(), **changes)))


def test_a_four_byte_as_marks_with_another_number() -> None:
    pop = msgspec.structs.replace(demo_pop(), asn=4_200_000_001, marker_asn=64_512)
    assert check_pop(pop) == []
    assert community_text(community_number(pop.marker_community)) == "64512:911"


@pytest.mark.parametrize(
    ("budgets", "problem"),
    [
        (Budgets(max_overrides=-1), "budgets.max_overrides: -1 is out of range; write a number from 0 to 10000"),
        (Budgets(max_overrides=10_001), "budgets.max_overrides: 10001 is out of range; write a number from 0 to 10000"),
        (Budgets(max_new_per_cycle=-1), "budgets.max_new_per_cycle: -1 is out of range"),
        (Budgets(max_moved_share=-0.1), "budgets.max_moved_share: -0.1 is out of range; write a number from 0 to 1"),
        (Budgets(max_moved_share=nan), "budgets.max_moved_share: nan is out of range"),
        (Budgets(max_moved_share=30), "budgets.max_moved_share: 30 is out of range"),
        (Budgets(min_prefix_length4=25), "budgets.min_prefix_length4: 25 must not be above max_prefix_length4 (24)"),
        (Budgets(max_prefix_length6=129), "budgets.max_prefix_length6: 129 is out of range; write a number from 0"),
    ],
)
def test_budgets_that_make_no_sense(budgets: Budgets, problem: str) -> None:
    (said,) = check_pop(msgspec.structs.replace(demo_pop(), budgets=budgets))
    assert said.startswith(problem)


def test_a_budget_that_no_router_would_take_is_named() -> None:
    """The actuator keeps below 80 % of maximum_prefix, 240 of 300: what a larger budget decides is refused there."""
    pop = msgspec.structs.replace(demo_pop(), budgets=Budgets(max_overrides=241))
    said = check_pop(pop)
    assert len(said) == 2
    assert said[0].startswith("router[0].maximum_prefix: 300 lets the actuator keep 240 routes there, fewer than")
    assert check_pop(msgspec.structs.replace(demo_pop(), budgets=Budgets(max_overrides=240))) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("cost = 0.1", "cost = -0.1", "link[1].cost: -0.1 is not a cost; write 0 or more"),
        ("cost = 0.1", "cost = nan", "link[1].cost: nan is not a cost"),
        ("cost = 0.1", "cost = inf", "link[1].cost: inf is not a cost"),
        ("capacity_bps = 10e9", "capacity_bps = nan", "link[3].capacity_bps: nan is not a capacity"),
        ("capacity_bps = 10e9", "capacity_bps = 40", "link[3].capacity_bps: 40 is not a capacity in bits per second"),
        ("capacity_bps = 10e9", "capacity_bps = 100e15", "link[3].capacity_bps: 1e+17 is not a capacity"),
        ("asn = 64601,", "asn = 64601, cap_bps = -1.0,", "link[0].sessions[0].cap_bps: -1.0 is not a limit"),
        ('bmp_sysname = "r1"', 'bmp_sysname = "r1"\nmaximum_prefix = 0', "router[0].maximum_prefix: 0 is out of range"),
        ('bmp_sysname = "r1"', 'bmp_sysname = "r1"\nbmp_silence_s = 5', "router[0].bmp_silence_s: 5 is out of range"),
        (
            'bmp_sysname = "r1"',
            'bmp_sysname = "r1"\nbmp_silence_s = nan',
            "router[0].bmp_silence_s: nan is out of range",
        ),
    ],
)
def test_numbers_that_make_no_sense(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (said, *_) = problems_of(write(tmp_path, (old, new)))
    assert said.startswith(f"pop.toml.{problem}")


def test_who_may_speak_for_a_router_is_checked(tmp_path: Path) -> None:
    first = ('agent_sources = ["127.0.0.1"]', 'agent_sources = ["127.0.0.1", "proxy"]\nsampling_rates = [0, 32768, -5]')
    address = ('bmp_address = "127.0.0.1"', 'bmp_address = "r1"')
    assert problems_of(write(tmp_path, first, address)) == [
        "pop.toml.router[0].agent_sources[1]: 'proxy' is not an IP address; write its digits, not a name",
        "pop.toml.router[0].sampling_rates[0]: 0 is out of range; write a number from 1 to 4294967295",
        "pop.toml.router[0].sampling_rates[2]: -5 is out of range; write a number from 1 to 4294967295",
        "pop.toml.router[0].bmp_address: 'r1' is not an IP address; write its digits, not a name",
    ]


def named(old: str, new: str) -> list[tuple[str, str]]:
    names = 'interfaces = { "et-0/0/1" = 101, "et-0/0/7" = 907, "in" = 1, "core" = 2 }'
    return [('bmp_sysname = "r1"', f'bmp_sysname = "r1"\n{names}'), (old, new)]


def test_interfaces_may_be_given_by_name(tmp_path: Path) -> None:
    by_name = 'ifindexes = ["et-0/0/1"]\nmembers = ["et-0/0/7", 908]\ncapacity_bps = "auto"'
    changes = [
        *named("ifindexes = [101]\ncapacity_bps = 100e9", by_name),
        ("internal_ifindexes = [1]\ncore = { r2 = 2 }", 'internal_ifindexes = ["in"]\ncore = { r2 = "core" }'),
    ]
    pop = load_pop(write(tmp_path, *changes))
    link = pop.links["rhv1000/r1/et-0/0/1"]
    assert (link.ifindexes, link.members, link.ports) == ((101,), (907, 908), (101, 907, 908))
    assert (link.capacity_bps, link.configured_bps) == ("auto", None)
    assert (pop.routers["r1"].internal_ifindexes, pop.routers["r1"].core) == ((1,), {"r2": (2,)})
    assert pop.link_by_interface["r1", 907] == "rhv1000/r1/et-0/0/1"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            'ifindexes = ["et-0/0/2"]\ncapacity_bps = 100e9',
            "pop.toml.link[0].ifindexes[0]: interfaces of router r1 have no 'et-0/0/2'; "
            "known: et-0/0/1, et-0/0/7, in, core",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 10e9",
            'ifindexes = ["xe-0/0/1"]\ncapacity_bps = 10e9',
            "pop.toml.link[3].ifindexes[0]: interfaces of router r2 have no 'xe-0/0/1'; known: none",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            "ifindexes = [101]\nmembers = [102]\ncapacity_bps = 100e9",
            "pop.toml.link[1].ifindexes[0]: 102 is also link[0].members[0] of r1; an ifIndex is one port",
        ),
        (
            "ifindexes = [101]\ncapacity_bps = 100e9",
            'ifindexes = [101]\ncapacity_bps = "much"',
            "pop.toml.link[0].capacity_bps: 'much' is text; write a number, without quotes, or 'auto'",
        ),
    ],
)  # fmt: skip
def test_names_that_no_router_has(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert problems_of(write(tmp_path, *named(old, new))) == [problem]
