"""The injectors: an override of each is best on its edge and on the other one, and they hold nothing else."""

import pytest

from app.lab.daemons import gobgp
from app.lab.daemons.stack import Stack
from tests.integration.bgp import eventually, inject, paths_at_r1, paths_at_r2, withdraw
from tests.integration.conftest import PREFIXES

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("router", ["r1", "r2"])
async def test_it_learns_nothing(stack: Stack, router: str) -> None:
    grpc = gobgp.target(stack.site, f"injector-{router}")
    for family in ("ipv4", "ipv6"):
        assert (await gobgp.gobgp(grpc, "global", "rib", "summary", "-a", family)).get("num_path", 0) == 0


async def test_an_override_is_best_on_both_edges_and_goes_again(stack: Stack) -> None:
    prefix = PREFIXES[2]

    async def best() -> tuple[str, str]:
        at_r1, at_r2 = await paths_at_r1(stack.r1_grpc, prefix), await paths_at_r2(stack, prefix)
        return at_r1[0]["next_hop"], at_r2[0]["next_hop"]

    async def moved() -> bool:
        return await best() == ("198.51.100.2", "192.0.2.11")

    async def natural() -> bool:
        return await best() == ("198.51.100.1", "198.51.100.4")

    assert await natural()
    try:
        await inject(stack.site, "r1", prefix, "198.51.100.2")
        await inject(stack.site, "r2", prefix, "192.0.2.11")
        await eventually(moved)
    finally:
        for router in ("r1", "r2"):
            await withdraw(stack.site, router, prefix)
    await eventually(natural)
