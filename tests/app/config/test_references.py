"""What the keys of an inventory say of each other: routers, ports, addresses and limits."""

from pathlib import Path

import pytest

from app.config.inventory import Pop, load_pop
from app.errors import ConfigError
from tests.pops import INVENTORY

V6 = ', "2001:db8:0:{}::1"'


def load(folder: Path, *changes: tuple[str, str], everywhere: bool = False) -> Pop | list[str]:
    """The demo's PoP with these changes, or the mistakes in it."""
    text = INVENTORY.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, -1 if everywhere else 1)
    path = folder / "pop.toml"
    path.write_text(text, encoding="utf-8")
    try:
        return load_pop(path)
    except ConfigError as error:
        return error.problems


CORE = "core = { r2 = 2 }"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (CORE, "core = { r3 = 2 }", "router[0].core.r3: 'r3' is not another router of this PoP; write one of r2"),
        (
            'peer = "127.0.0.31"',
            'peer = "127.0.0.1"',
            "link[0].sessions[0].peer: '127.0.0.1' is router[1].agent_sources[0], which is inside this PoP; write the"
            " neighbour's address",
        ),
        (
            "asn = 64601,",
            "asn = 64601, cap_bps = 200e9,",
            "link[0].sessions[0].cap_bps: 2e+11 is above link[0].capacity_bps (1e+11); lower it, or leave it out",
        ),
        (
            CORE,
            f"{CORE}\ninterfaces = {{ ae1 = 501, ae2 = 501 }}",
            "router[0].interfaces.ae2: 501 is given twice, first in router[0].interfaces.ae1",
        ),
        (CORE, "core = { r2 = [2, 101] }", "link[0].ifindexes[0]: 101 is also router[0].core.r2[1] of r1; an ifIndex"),
        (CORE, "core = { r2 = [2, 0] }", "router[0].core.r2[1]: 0 is not an ifIndex; write one from 1 to 2147483647"),
        (
            "ifindexes = [101]",
            'ifindexes = ["101"]',
            "link[0].ifindexes[0]: '101' is text; write the number without quotes",
        ),
        (
            CORE,
            f"{CORE}\ninterfaces = {{ xe-0.100 = 501 }}",
            'router[0].interfaces.xe-0: is a table; a name with a dot needs quotes: "xe-0.100" = ...',
        ),
        (
            '"198.51.100.1"',
            '"80.249.208.0/21"',
            "link[0].sessions[0].next_hops[0]: '80.249.208.0/21' is not an IP address; it is a prefix: write the",
        ),
    ],
)
def test_one_mistake_is_one_problem(tmp_path: Path, old: str, new: str, problem: str) -> None:
    said = load(tmp_path, (old, new))
    assert isinstance(said, list)
    assert [one.startswith(f"pop.toml.{problem}") for one in said] == [True], said


def test_two_routers_with_a_port_towards_each_other_both_have_one(tmp_path: Path) -> None:
    text = INVENTORY.read_text(encoding="utf-8")
    third = text[text.index("[[router]]") : text.index("[[link]]")].split("[[router]]")[1]
    changes = {"192.0.2.": "192.0.3.", "ffff::": "fffe::", "127.0.0.11": "127.0.0.13", "127.0.0.21": "127.0.0.23"}
    for old, new in (changes | {'"r1"': '"r3"', "-r1.": "-r3.", "{ r2 = 10 }": "{ r1 = 10, r2 = 10 }"}).items():
        third = third.replace(old, new)
    text = text.replace("igp_cost = { r2 = 10 }", "igp_cost = { r2 = 10, r3 = 10 }")
    text = text.replace("igp_cost = { r1 = 10 }", "igp_cost = { r1 = 10, r3 = 10 }")
    path = tmp_path / "pop.toml"
    path.write_text(text.replace("[[link]]", f"[[router]]{third}[[link]]", 1))
    with pytest.raises(ConfigError) as caught:
        load_pop(path)
    assert caught.value.problems == [
        "pop.toml.router[1].core: has no r3, although router[2].core has r2; write { r3 = IFINDEX }, too"
    ]


def test_several_ports_lead_to_one_neighbour(tmp_path: Path) -> None:
    changes = (CORE, f'interfaces = {{ "ae20" = 20 }}\n{CORE}'), ("{ r2 = 2 }", '{ r2 = [2, "ae20"] }')
    pop = load(tmp_path, *changes)
    assert isinstance(pop, Pop), pop
    assert pop.routers["r1"].core == {"r2": (2, 20)}
    assert (pop.ingress_by_interface["r1", 2], pop.ingress_by_interface["r1", 20]) == ("r2", "r2")


LOOPBACKS6 = [(f'loopback6 = "2001:db8:ffff::1{number}"\n', "") for number in (1, 2)]
LOOPBACKS4 = [(f'loopback4 = "192.0.2.1{number}"\n', "") for number in (1, 2)]


def test_a_pop_may_know_one_family(tmp_path: Path) -> None:
    text = INVENTORY.read_text(encoding="utf-8")
    hops6 = [(V6.format(number), "") for number in range(1, 9) if V6.format(number) in text]
    pop = load(tmp_path, *LOOPBACKS6, *hops6)
    assert isinstance(pop, Pop), pop
    assert pop.router_by_loopback == {"192.0.2.11": "r1", "192.0.2.12": "r2"}
    assert pop.routers["r1"].bmp_addresses == ("127.0.0.1", "127.0.0.11", "192.0.2.1", "192.0.2.11")
    with pytest.raises(ValueError, match="router r1 has no loopback of the family of 2001:db8::/32"):
        pop.routers["r1"].loopback("2001:db8::/32")


def test_a_router_has_a_loopback_of_each_family_of_its_sessions(tmp_path: Path) -> None:
    said = load(tmp_path, *LOOPBACKS6)
    assert said == [
        f"pop.toml.router[{router}].loopback6: is missing, but link[{link}].sessions[0].next_hops[1] is of IPv6; write"
        " the address at which other routers reach this one"
        for router, link in ((0, 0), (1, 3))
    ]
    said = load(tmp_path, LOOPBACKS4[0], LOOPBACKS6[0])
    assert said == ["pop.toml.router[0].loopback4: is missing, and so is loopback6; write at least one of them"]


def test_one_bad_name_hides_no_wrong_reference_and_causes_none(tmp_path: Path) -> None:
    """Links and neighbours of the router with the bad name are right about it; only r9 is nobody."""
    text = INVENTORY.read_text(encoding="utf-8").replace('"r1"', '"r1/re0"').replace("{ r1 =", '{ "r1/re0" =')
    path = tmp_path / "pop.toml"
    path.write_text(text.replace('router = "r2"', 'router = "r9"', 1))
    with pytest.raises(ConfigError) as caught:
        load_pop(path)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "pop.toml.router[0].name: 'r1/re0' is not a name",
        "pop.toml.link[3].router: 'r9' is no router of this PoP",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        [('next_hops = ["198.51.100.1", "2001:db8:0:1::1"]', 'next_hops = ["self"]')],
        [(CORE, f'{CORE}\ninterfaces = {{ ae1 = "501" }}'), ("ifindexes = [101]", 'ifindexes = ["ae1"]')],
        [('"198.51.100.1", "2001:db8:0:1::1"] }', '"self"] }, { peer = "127.0.0.99", asn = 64601, next_hops = [] }')],
    ],
)
def test_a_bad_item_causes_one_complaint(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    said = load(tmp_path, *changes)
    assert isinstance(said, list)
    assert len(said) == 1, said
