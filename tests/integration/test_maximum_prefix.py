"""The routers' own last line: more overrides than the limit, and the edge drops all of them."""

import msgspec
import pytest

from app.config.inventory import Pop, load_pop
from app.lab.daemons import frr, gobgp
from app.lab.daemons.machine import Site
from tests.integration.bgp import eventually, inject
from tests.integration.conftest import INVENTORY
from tests.integration.small import edge

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

LIMIT = 3


def limited() -> Pop:
    pop = load_pop(INVENTORY)
    routers = tuple(msgspec.structs.replace(router, maximum_prefix=LIMIT) for router in pop.router)
    return msgspec.structs.replace(pop, router=routers)


@pytest.mark.parametrize(("router", "hop"), [("r1", "198.51.100.2"), ("r2", "198.51.100.5")])
async def test_at_the_limit_the_edge_drops_the_session(router: str, hop: str) -> None:
    async with edge(limited(), router, neighbours=False) as site:

        async def holds(count: int) -> bool:
            return await overrides(site, router) == count

        for index in range(LIMIT):
            await inject(site, router, f"20.0.{index}.0/24", hop)
        await eventually(lambda: holds(LIMIT))
        # FRR counts before it adds: it lets one more in.
        for index in (LIMIT, LIMIT + 1):
            await inject(site, router, f"20.0.{index}.0/24", hop)
        await eventually(lambda: holds(0))


async def overrides(site: Site, router: str) -> int:
    if router == "r1":
        found = await gobgp.gobgp(gobgp.target(site, "r1"), "global", "rib")
        return len([prefix for prefix in found if prefix.startswith("20.")])
    table = await frr.vty(site.path("r2") / "bgpd.vty", "show bgp ipv4 unicast json")
    return len([prefix for prefix in table["routes"] if prefix.startswith("20.")])
