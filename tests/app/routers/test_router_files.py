"""Configuration as it is rendered: complete, its names defined, and equal to what deploy/routers shows."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from app.config.inventory import Pop, load_pop
from app.routers import docs
from app.routers.router_files import INJECTOR, PLATFORMS, Collector, injector_config, neighbours, router_config
from tests.pops import INVENTORY, demo_pop

COLLECTOR = Collector("192.0.2.53", 1790)
BRACES = ("bird", "junos", "sros")
# How each platform defines a name and how it uses one.
DEFINED = {
    "frr": r"^(?:route-map|ip prefix-list|ipv6 prefix-list|bgp community-list standard) (AUTOPILOT-\S+)",
    "bird": r"^(?:define|filter|template bgp|protocol bgp) ((?:AUTOPILOT|autopilot)_\w+)",
    "eos": r"^(?:route-map|ip prefix-list|ipv6 prefix-list|ip community-list) (AUTOPILOT-\S+)",
    "junos": r"^ +(?:prefix-list|community|policy-statement|group) (autopilot\S*)(?: \{| members)",
    "sros": r'^ +(?:prefix-list|community|policy-statement|group|station) "(autopilot\S*)" \{',
    "iosxr": r"^(?:community-set|prefix-set|route-policy) (AUTOPILOT-\S+)",
    "gobgp": r'^(?:name|community-set-name|neighbor-set-name|prefix-set-name) = "(autopilot-\S+)"',
}
USED = {
    "frr": r"^ +(?:match|neighbor) .*\b(AUTOPILOT-\S+)",
    "bird": r"(?:filter|if|~|from) ((?:AUTOPILOT|autopilot)_\w+)",
    "eos": r"^ +(?:match|neighbor) .*\b(AUTOPILOT-\S+)",
    "junos": r"^ +(?:from )?(?:import|export|prefix-list|community) (autopilot[^;\s]*);",
    "sros": r'(?:\[|name )"(autopilot\S*)"|^ +group "(autopilot\S*)"$|^ +station "(autopilot\S*)"',
    "iosxr": r"^ .*(?:matches-any|in|route-policy) (AUTOPILOT-\S+)",
    "gobgp": r'(?:set = |-policy-list = \[)"(autopilot-\S+)"',
}
ONLY4 = ("198.18.0.0/16",)


def one_family(pop: Pop) -> Pop:
    """The PoP with IPv4 alone."""
    links = tuple(
        msgspec.structs.replace(
            link,
            sessions=tuple(
                msgspec.structs.replace(session, next_hops=session.next_hops[:1]) for session in link.sessions
            ),
        )
        for link in pop.link
    )
    return msgspec.structs.replace(pop, link=links, own_prefixes=ONLY4)


def found(pattern: str, text: str) -> set[str]:
    return {name for match in re.finditer(pattern, text, re.MULTILINE) for name in match.groups() if name}


@pytest.mark.parametrize("pop", [demo_pop(), one_family(demo_pop()), docs.example()], ids=("both", "ipv4", "example"))
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_name_that_is_used_is_defined_and_used(platform: str, pop: Pop) -> None:
    router = pop.router[0]
    text = router_config(pop, router, platform, COLLECTOR)
    defined, used = found(DEFINED[platform], text), found(USED[platform], text)
    assert used
    assert used <= defined
    whole = {"autopilot_injector", "autopilot_ebgp", "autopilot-injector", "autopilot-ebgp"}
    unused = defined - used - whole - {name for name in defined if platform == "gobgp"}
    # FRR's prefix list of a family without own prefixes denies all; it is there so that nothing is undefined.
    assert unused == set()


@pytest.mark.parametrize("pop", [demo_pop(), one_family(demo_pop())], ids=("both", "ipv4"))
@pytest.mark.parametrize("platform", PLATFORMS)
def test_all_values_of_the_inventory_are_in_it_and_nothing_is_left_open(platform: str, pop: Pop) -> None:
    router = pop.router[0]
    text = router_config(pop, router, platform, COLLECTOR)
    assert not re.search(r"\{\{|\}\}|\{%|\$\w|None|Undefined", text)
    wanted = [router.injector.address, "1000", "300", COLLECTOR.address, "1790", *pop.own_prefixes]
    wanted += [neighbour.peer for neighbour in neighbours(pop, router)]
    if platform == "bird":
        wanted = [each for each in wanted if each not in (COLLECTOR.address, "1790")]  # it has no BMP
    assert [value for value in wanted if value not in text] == []
    marker = "(64512, 911)" if platform == "bird" else "64512:911"
    assert marker in text
    if pop.own_prefixes == ONLY4:
        assert not re.search(r"inet6|ipv6 (unicast|true|\{)|address-family ipv6|ipv6-unicast|OWN6 permit", text)


@pytest.mark.parametrize("platform", BRACES)
def test_braces_are_balanced(platform: str) -> None:
    text = router_config(demo_pop(), demo_pop().router[0], platform, COLLECTOR)
    depth = 0
    for line in re.sub(r"#.*|/\*.*?\*/", "", text).splitlines():
        depth += line.count("{") - line.count("}")
        assert depth >= 0, line
        if platform == "sros":
            assert len(line) - len(line.lstrip()) == 4 * (depth - line.count("{")) or not line.strip(), line
    assert depth == 0


def test_descriptions_of_sr_os_have_80_characters_at_most() -> None:
    text = router_config(demo_pop(), demo_pop().router[0], "sros", COLLECTOR)
    assert all(len(said) <= 80 for said in re.findall(r'description "(.*)"', text))


def test_what_xr_opens_it_closes() -> None:
    text = router_config(demo_pop(), demo_pop().router[0], "iosxr", COLLECTOR)
    for opens, closes in (("route-policy", "end-policy"), ("community-set|prefix-set", "end-set"), (" +if", "endif")):
        assert len(re.findall(rf"^(?:{opens}) ", text, re.MULTILINE)) == text.count(f"{closes}\n") > 0


def test_toml_is_toml_and_no_set_is_empty() -> None:
    """An empty neighbour set of GoBGP matches every neighbour."""
    pop = demo_pop()
    config = tomllib.loads(router_config(pop, pop.router[0], "gobgp", COLLECTOR))
    sets = config["defined-sets"]
    assert all(each["neighbor-info-list"] for each in sets["neighbor-sets"])
    assert all(each["prefix-list"] for each in sets["prefix-sets"])
    alone = msgspec.structs.replace(pop, link=tuple(link for link in pop.link if link.router == "r2"))
    config = tomllib.loads(router_config(alone, pop.router[0], "gobgp", COLLECTOR))
    assert all(each["neighbor-info-list"] for each in config["defined-sets"]["neighbor-sets"])
    injector = tomllib.loads(injector_config(pop, pop.router[0]))
    assert [each["config"]["neighbor-address"] for each in injector["neighbors"]] == ["127.0.0.11"]


def test_the_router_id_of_an_ipv6_injector_is_its_last_32_bits() -> None:
    pop = load_pop(INVENTORY)
    injector = msgspec.structs.replace(pop.router[0].injector, address="2001:db8::c000:215")
    router = msgspec.structs.replace(pop.router[0], injector=injector)
    assert tomllib.loads(injector_config(pop, router))["global"]["config"]["router-id"] == "192.0.2.21"


def test_sessions_of_a_link_without_next_hops_of_their_own_share_those_of_the_others() -> None:
    pop = docs.example()
    families = {neighbour.peer: neighbour.families for neighbour in neighbours(pop, pop.router[0])}
    assert families == {
        "198.51.100.129": (4,), "2001:db8:0:1::1": (6,), "192.0.2.250": (4,), "192.0.2.251": (4,),
        "198.51.100.133": (4,), "2001:db8:0:2::1": (6,),
    }  # fmt: skip


def test_deploy_routers_shows_what_is_rendered() -> None:
    shown = {path.name: path.read_text(encoding="utf-8") for path in docs.FOLDER.iterdir()}
    assert shown == docs.files(docs.example()), "run: make docs"
    assert shown.keys() == {*PLATFORMS.values(), INJECTOR}
    templates = {path.name for path in (Path(docs.__file__).parent / "templates").iterdir()}
    assert templates == shown.keys()
