"""`autopilot check` reads the policies of real daemons back, and says what is missing when one item is."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
import pytest

from app.cli.policies import of_injectors, of_routers
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Injector, Pop
from app.routers.router_files import Collector, injector_config, router_config
from tests.app.bgp.gobgpd import running
from tests.integration.bgp import eventually
from tests.integration.edges import ROUTER, Frr, a_pop, edge

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

INJECTOR, PEER = "127.0.0.21", "127.0.0.31"
IN4 = ("router bgp 64512", "address-family ipv4 unicast")
FROM, TO = "route-map AUTOPILOT-FROM-INJECTOR", "route-map AUTOPILOT-TO-EBGP"

# What is removed, the lines that bring it back, and the beginning and the remedy of what is said.
FRR: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, str]] = {
    "import policy": (
        (*IN4, f"no neighbor {INJECTOR} {FROM} in"),
        (*IN4, f"neighbor {INJECTOR} {FROM} in"),
        "has no import policy for what comes from its injector 127.0.0.21 (IPv4)",
        "`neighbor 127.0.0.21 route-map AUTOPILOT-FROM-INJECTOR in`",
    ),
    "marker": (
        (f"{FROM} permit 10", "no match community"),
        (f"{FROM} permit 10", "match community AUTOPILOT-MARKER"),
        f"{FROM} permit 10 takes routes without our marker from its injector",
        f"`match community AUTOPILOT-MARKER` to {FROM} permit 10",
    ),
    "local-pref": (
        (f"{FROM} permit 10", "no match local-preference 1000"),
        (f"{FROM} permit 10", "match local-preference 1000"),
        f"{FROM} permit 10 takes other local-prefs than 1000 from its injector",
        "`match local-preference 1000`",
    ),
    "our routes": (
        (f"{FROM} permit 10", "match local-preference 900"),
        (f"{FROM} permit 10", "match local-preference 1000"),
        "takes none of our routes from its injector",
        f"`{FROM} permit 10`",
    ),
    "limit": (
        (*IN4, f"no neighbor {INJECTOR} maximum-prefix"),
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 300 restart 1"),
        "has no limit on the prefixes from its injector",
        "`neighbor 127.0.0.21 maximum-prefix 300 restart 1`",
    ),
    "restart": (
        (*IN4, f"no neighbor {INJECTOR} maximum-prefix", f"neighbor {INJECTOR} maximum-prefix 300"),
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 300 restart 1"),
        "stays down for good after too many prefixes from its injector",
        "`restart 1`",
    ),
    "the inventory's limit": (
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 30000 restart 1"),
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 300 restart 1"),
        "takes 30000 prefixes from its injector 127.0.0.21 (IPv4), the inventory says 300 (maximum_prefix)",
        "`neighbor 127.0.0.21 maximum-prefix 300 restart 1`",
    ),
    "only a warning": (
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 300 warning-only"),
        (*IN4, f"neighbor {INJECTOR} maximum-prefix 300 restart 1"),
        "has no limit on the prefixes from its injector",
        "maximum-prefix 300 restart 1`",
    ),
    "every path": (
        (*IN4, f"no neighbor {INJECTOR} addpath-tx-all-paths"),
        (*IN4, f"neighbor {INJECTOR} addpath-tx-all-paths"),
        "sends only best paths to its injector 127.0.0.21 (IPv4)",
        "`neighbor 127.0.0.21 addpath-tx-all-paths`",
    ),
    "export policy": (
        (*IN4, f"no neighbor {PEER} {TO} out"),
        (*IN4, f"neighbor {PEER} {TO} out"),
        "has no export policy to its eBGP neighbour 127.0.0.31 (IPv4)",
        "`neighbor 127.0.0.31 route-map AUTOPILOT-TO-EBGP out`",
    ),
    "marker denied": (
        (f"no {TO} deny 10",),
        (f"{TO} deny 10", "match community AUTOPILOT-MARKER"),
        f"{TO} permit 20 passes our overrides on to its eBGP neighbour 127.0.0.31 (IPv4)",
        "a `deny` entry with `match community AUTOPILOT-MARKER` in front",
    ),
    "marker denied first": (
        (f"{TO} permit 5", "match ip address prefix-list AUTOPILOT-OWN4"),
        (f"no {TO} permit 5",),
        f"{TO} permit 5 passes our overrides on to its eBGP neighbour 127.0.0.31 (IPv4)",
        "in front of all others",
    ),
    "allow-list": (
        ("no ip prefix-list AUTOPILOT-OWN4",),
        tuple(f"ip prefix-list AUTOPILOT-OWN4 permit {prefix}" for prefix in ("198.18.0.0/16", "198.19.0.0/16")),
        "announces none of your own prefixes to its eBGP neighbour 127.0.0.31 (IPv4)",
        "`match ip address prefix-list AUTOPILOT-OWN4`",
    ),
    "only own prefixes": (
        ("ip prefix-list AUTOPILOT-OWN4 seq 99 permit 20.0.0.0/8 le 24",),
        ("no ip prefix-list AUTOPILOT-OWN4 seq 99",),
        f"{TO} permit 20 passes 20.0.0.0/8 on to its eBGP neighbour 127.0.0.31 (IPv4), not only own_prefixes",
        "`match ip address prefix-list AUTOPILOT-OWN4`",
    ),
    "default reject": (
        (f"{TO} permit 99",),
        (f"no {TO} permit 99",),
        f"{TO} permit 99 passes every route on to its eBGP neighbour 127.0.0.31 (IPv4)",
        "`match ip address prefix-list AUTOPILOT-OWN4`",
    ),
    "the route map itself": (
        (f"no {TO}",),
        (f"{TO} deny 10", "match community AUTOPILOT-MARKER", f"{TO} permit 20",
         "match ip address prefix-list AUTOPILOT-OWN4", f"{TO} permit 30",
         "match ipv6 address prefix-list AUTOPILOT-OWN6"),
        "uses route-map AUTOPILOT-TO-EBGP, which is not there, so nothing passes",
        "write it",
    ),
    "the session": (
        ("router bgp 64512", f"no neighbor {PEER}"),
        (),
        "has no BGP session with 127.0.0.31, which the inventory has on et-0/0/1",
        "is this the configuration of this router?",
    ),
}  # fmt: skip


async def test_frr_says_what_is_missing_when_one_item_is() -> None:
    async with edge("frr") as router:
        assert isinstance(router, Frr)

        async def said() -> list[str]:
            found = await of_routers({router.pop.name: router.pop}, {(router.pop.name, ROUTER): str(router.vty.parent)})
            return found[router.pop.name, ROUTER]

        assert await said() == []
        for item, (remove, restore, beginning, remedy) in FRR.items():
            await router.configure(*remove)
            problems = await said()
            assert any(text.startswith(beginning) and remedy in text for text in problems), (item, problems)
            if restore:
                await router.configure(*restore)
                assert await said() == [], item


def only(pop: Pop, target: str) -> Pop:
    """The PoP with its first router alone, whose injector is this gobgpd."""
    router = msgspec.structs.replace(pop.router[0], injector=Injector(INJECTOR, target))
    return msgspec.structs.replace(pop, router=(router,))


SESSION = """
[[neighbors]]
config.neighbor-address = "127.0.0.99"
config.peer-as = 64999
"""
DYNAMIC = """
[[peer-groups]]
config.peer-group-name = "anybody"
config.peer-as = 64999
[[dynamic-neighbors]]
config.prefix = "192.0.2.0/24"
config.peer-group = "anybody"
"""
RECEIVE = "add-paths.config.receive = true"
LOCAL = 'conditions.bgp-conditions.route-type = "local"'
MARKER = 'conditions.bgp-conditions.match-community-set.community-set = "autopilot-marker"'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ("", SESSION, "it also speaks to 127.0.0.99: leave only the session with 127.0.0.11"),
        ("", DYNAMIC, "it takes BGP sessions from anybody in 192.0.2.0/24"),
        (RECEIVE, "", "it does not ask its router for every path, so it cannot see that one is lost: add add-paths"),
        (f"{LOCAL}\n{MARKER}", LOCAL, "statement autopilot-ours of policy autopilot-export sends routes without our"),
        (f"{LOCAL}\n{MARKER}", LOCAL.replace("local", "external"), "it does not send our routes to its router"),
        ('default-export-policy = "reject-route"', "", "default-export-policy sends routes without our marker to its"),
        (
            'default-import-policy = "reject-route"',
            "",
            "default-import-policy takes what its router sends: set",
        ),
        ('import-policy-list = ["autopilot-import"]', "", "it refuses the routes that the actuator adds: accept route"),
        ('"ipv6-unicast"', '"ipv6-flowspec"', "its session with 127.0.0.11 does not carry this family: add"),
    ],
)
@pytest.mark.parametrize("major", [3, 4])
async def test_an_injector_says_what_is_missing_when_one_item_is(
    major: int, old: str, new: str, said: str | None
) -> None:
    config = injector_config(a_pop(), a_pop().router[0])
    assert old in config
    changed = config.replace(old, new) if old else config + new
    async with running(("injector", changed), major=major) as [daemon]:
        pop = only(a_pop(), daemon.target)

        async def problems() -> list[str]:
            return (await of_injectors({pop.name: pop}, {(pop.name, ROUTER): True}, Gobgp()))[pop.name, ROUTER]

        await says(problems, said)


async def says(problems: Callable[[], Awaitable[list[str]]], said: str | None) -> None:
    """Wait until a problem that begins so is named; without `said`, until there is none.

    A gobgpd that answers may still be taking its configuration in.
    """
    found: list[str] = []

    async def as_wanted() -> bool:
        found[:] = await problems()
        return not found if said is None else any(problem.startswith(said) for problem in found)

    with suppress(TimeoutError):
        await eventually(as_wanted)
    assert await as_wanted(), found


HEAD = '[global.config]\nas = 64512\nrouter-id = "192.0.2.11"\nport = -1\n'


def statement(name: str) -> str:
    """The beginning of this statement of the rendered configuration."""
    return f'[[policy-definitions.statements]]\nname = "{name}"'


def elsewhere(name: str) -> str:
    """The same statement, which matches only what never comes."""
    return f'{statement(name)}\nconditions.bgp-conditions.next-hop-in-list = ["192.0.2.123"]'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        (f"\n{MARKER}\nactions.route-disposition = \"accept-route\"", '\nactions.route-disposition = "accept-route"',
         "statement autopilot-ours of policy autopilot-import takes routes without our marker"),
        ("actions.bgp-actions.set-local-pref = 1000", "", "statement autopilot-ours of policy autopilot-import takes"),
        (statement("autopilot-nothing-else"), elsewhere("autopilot-nothing-else"),
         "default-import-policy takes routes without our marker from its injector"),
        ("prefix-limit.config.max-prefixes = 300", "", "has no limit on the prefixes from its injector"),
        ("add-paths.config.send-max = 16", "", "sends only best paths to its injector"),
        (statement("autopilot-no-marker"), elsewhere("autopilot-no-marker"),
         "statement autopilot-own4 of policy autopilot-export passes our overrides on to its eBGP neighbour"),
        ('default-export-policy = "reject-route"', 'default-export-policy = "accept-route"',
         "default-export-policy passes every route on to its eBGP neighbour 127.0.0.31 (IPv4), not only own_prefixes"),
        ('export-policy-list = ["autopilot-export"]', "export-policy-list = []", "announces none of your own prefixes"),
        ('ip-prefix = "198.18.0.0/16"\nmasklength-range = "16..16"',
         'ip-prefix = "0.0.0.0/0"\nmasklength-range = "0..24"', "statement autopilot-own4 of policy autopilot-export"),
        ('neighbor-info-list = ["127.0.0.21"]', "neighbor-info-list = []",
         "its neighbor-set autopilot-injector is empty, so it matches every neighbour: name one"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("major", [3, 4])
async def test_a_gobgpd_edge_says_what_is_missing_when_one_item_is(
    major: int, old: str, new: str, said: str | None
) -> None:
    pop = a_pop()
    config = router_config(pop, pop.router[0], "gobgp", Collector("127.0.0.1", 1))
    assert old in config
    changed = HEAD + (config.replace(old, new) if old else config + new)
    for number in (1, 2, 3):
        changed += f'[[neighbors]]\nconfig.neighbor-address = "127.0.0.3{number}"\nconfig.peer-as = 6460{number}\n'
        changed += "".join(f'[[neighbors.afi-safis]]\nconfig.afi-safi-name = "ipv{v}-unicast"\n' for v in (4, 6))
    async with running(("edge", changed), major=major) as [daemon]:
        pop = only(pop, daemon.target)

        async def problems() -> list[str]:
            return (await of_routers({pop.name: pop}, {(pop.name, ROUTER): daemon.target}))[pop.name, ROUTER]

        await says(problems, said)


async def test_what_cannot_be_read_is_said() -> None:
    pop = a_pop()
    places = {"/nowhere/edge1.conf": "cannot be read", "unix:///nowhere.sock": "no connection"}
    for place, words in places.items():
        (said,) = (await of_routers({pop.name: pop}, {(pop.name, ROUTER): place}))[pop.name, ROUTER]
        assert said.startswith(place)
        assert words in said
