"""Edge r2: the same policy as r1 in another daemon's words."""

import pytest

from app.lab.daemons import frr
from app.lab.daemons.stack import Stack
from tests.integration.bgp import eventually, inject, paths_at_r2, withdraw
from tests.integration.conftest import PREFIX6, PREFIXES

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

NEIGHBOURS = ("127.0.0.34", "127.0.0.35", "127.0.0.36")


@pytest.mark.parametrize(
    ("prefix", "hop", "edge"),
    [(PREFIXES[0], "198.51.100.{}", "192.0.2.11"), (PREFIX6, "2001:db8:ffff::{}", "2001:db8:ffff::11")],
)
async def test_preference_follows_the_kind_of_link(stack: Stack, prefix: str, hop: str, edge: str) -> None:
    paths = {path["next_hop"]: path for path in await paths_at_r2(stack, prefix)}
    assert {where: path["local_pref"] for where, path in paths.items()} == {
        hop.format(4): 300,
        hop.format(5): 200,
        hop.format(6): 100,
        edge: 300,
    }
    assert paths[hop.format(5)]["as_path"] == [64605, 65010]


async def test_nothing_but_own_prefixes_is_exported(stack: Stack) -> None:
    prefix = PREFIXES[1]
    await inject(stack.site, "r2", prefix, "198.51.100.5")

    async def overridden() -> bool:
        return bool((await paths_at_r2(stack, prefix))[0]["local_pref"] == 1000)

    try:
        await eventually(overridden)
        for peer in NEIGHBOURS:
            sent = await frr.vty(stack.r2_vty, f"show bgp ipv4 unicast neighbors {peer} advertised-routes json")
            assert list(sent["advertisedRoutes"]) == ["198.18.0.0/16"], f"what {peer} is sent"
    finally:
        await withdraw(stack.site, "r2", prefix)


@pytest.mark.parametrize(("community", "local_pref"), [("64512:912", 1000), ("64512:911", 999)])
async def test_overrides_need_the_marker_and_our_local_pref(stack: Stack, community: str, local_pref: int) -> None:
    prefix, canary = PREFIXES[1:]
    await inject(stack.site, "r2", prefix, "198.51.100.5", community, local_pref)
    await inject(stack.site, "r2", canary, "198.51.100.5")

    async def canary_is_there() -> bool:
        return bool((await paths_at_r2(stack, canary))[0]["peer"] == "127.0.0.22")

    try:
        # Sent later on the same session: when it is there, the other one was refused.
        await eventually(canary_is_there)
        assert "127.0.0.22" not in {path["peer"] for path in await paths_at_r2(stack, prefix)}
    finally:
        for each in (prefix, canary):
            await withdraw(stack.site, "r2", each)
