"""The injectors: an override of each is best on its edge and on the other one, and they hold nothing else."""

import pytest

from app.lab.daemons import gobgp
from app.lab.daemons.stack import Stack
from tests.integration.bgp import becomes, inject, paths_at_r1, paths_at_r2, withdraw
from tests.integration.conftest import PREFIXES

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]
NATURAL = {"r1": "198.51.100.1", "r2": "198.51.100.4"}  # next hop by router
OVERRIDDEN = {"r1": "198.51.100.2", "r2": "192.0.2.11"}


@pytest.mark.parametrize("router", ["r1", "r2"])
async def test_it_learns_nothing(stack: Stack, router: str) -> None:
    grpc = gobgp.target(stack.site, f"injector-{router}")
    for family in ("ipv4", "ipv6"):
        assert (await gobgp.gobgp(grpc, "global", "rib", "summary", "-a", family)).get("num_path", 0) == 0


async def test_an_override_is_best_on_both_edges_and_goes_again(stack: Stack) -> None:
    prefix = PREFIXES[2]

    async def best() -> dict[str, str]:
        at_r1, at_r2 = await paths_at_r1(stack.r1_grpc, prefix), await paths_at_r2(stack, prefix)
        return {"r1": at_r1[0]["next_hop"], "r2": at_r2[0]["next_hop"]}

    assert await best() == NATURAL
    try:
        for router, next_hop in OVERRIDDEN.items():
            await inject(stack.site, router, prefix, next_hop)
        await becomes(best, OVERRIDDEN)
    finally:
        for router in OVERRIDDEN:
            await withdraw(stack.site, router, prefix)
    await becomes(best, NATURAL)
