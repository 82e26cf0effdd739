"""An override with a long AS path on both edges: it is taken, the injector's session stays, and so do the others."""

import pytest

from app.bgp.gobgp import GobgpSpeaker
from app.bgp.wire import AS_PATH_MAX
from app.config.inventory import load_pop
from app.lab.daemons import frr, gobgp
from app.lab.daemons.machine import Site
from tests.app.actuation.routes import MARKER, route
from tests.integration.bgp import eventually
from tests.integration.conftest import INVENTORY
from tests.integration.small import edge

pytestmark = [pytest.mark.services]

POP = load_pop(INVENTORY)
OTHERS = ("20.0.0.0/24", "20.0.1.0/24")


async def shown(site: Site, name: str) -> dict[str, int]:
    """The prefixes that the edge has from its injector, with the lengths of their AS paths."""
    router = POP.routers[name]
    if name == "r2":
        found = await frr.vty(frr.vty_socket(site, router), "show bgp ipv4 unicast json")
        paths = [path for paths in found["routes"].values() for path in paths]
        return {
            path["network"]: len(path["path"].split()) for path in paths if path["peerId"] == router.injector.address
        }
    rib = await gobgp.gobgp(gobgp.target(site, name), "global", "rib") or {}
    return {
        prefix: sum(len(segment["asns"]) for each in path["attrs"] if each["type"] == 2 for segment in each["as_paths"])
        for prefix, paths in rib.items()
        for path in paths
        if path.get("neighbor-ip") == router.injector.address
    }


async def session(site: Site, name: str) -> object:
    """What changes when the edge loses the session with its injector: how often it did, or since when it is up."""
    router = POP.routers[name]
    if name == "r2":
        found = await frr.vty(frr.vty_socket(site, router), f"show bgp neighbors {router.injector.address} json")
        return found[router.injector.address]["connectionsDropped"]
    neighbours = await gobgp.gobgp(gobgp.target(site, name), "neighbor")
    [injector] = [each for each in neighbours if each["conf"]["neighbor_address"] == router.injector.address]
    return injector["timers"]["state"].get("uptime")


async def takes_paths_of(name: str, *lengths: int) -> None:
    """Assert that an edge takes overrides with AS paths of these lengths, and keeps its session and two others."""
    hop = "198.51.100.2" if name == "r1" else "198.51.100.5"
    async with edge(POP, name, neighbours=False) as site:
        injector = GobgpSpeaker(gobgp.target(site, f"injector-{name}"), MARKER)
        await injector.announce([route(prefix, hop) for prefix in OTHERS])
        wanted = dict.fromkeys(OTHERS, 2)

        async def all_there() -> bool:
            return await shown(site, name) == wanted

        await eventually(all_there)
        before = await session(site, name)
        for place, length in enumerate(lengths):
            prefix = f"20.0.{100 + place}.0/24"
            await injector.announce([route(prefix, hop, as_path=(64602, *range(65001, 65000 + length)))])
            wanted[prefix] = length
        await eventually(all_there)
        assert await session(site, name) == before
        await injector.reset("so that a change is seen to be one")

        async def has_changed() -> bool:
            return await session(site, name) != before

        await eventually(has_changed)
        await injector.close()


@pytest.mark.parametrize("name", ["r1", "r2"])
async def test_the_session_stays_up_and_the_others_stand(name: str, daemons: None) -> None:
    await takes_paths_of(name, 64, 254, 255, 256, 272, AS_PATH_MAX)
