"""Edge r1: prefers by link kind, sends the other edge its own loopback as next hop, and eBGP the own prefixes only."""

import pytest

from app.lab.daemons import gobgp
from app.lab.daemons.stack import Stack
from tests.integration.bgp import eventually, inject, paths_at_r1, withdraw
from tests.integration.conftest import PREFIX6, PREFIXES

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]

NEIGHBOURS = ("127.0.0.31", "127.0.0.32", "127.0.0.33")


@pytest.mark.parametrize(
    ("prefix", "hop", "edge"),
    [(PREFIXES[0], "198.51.100.{}", "192.0.2.12"), (PREFIX6, "2001:db8:ffff::{}", "2001:db8:ffff::12")],
)
async def test_preference_follows_the_kind_of_link(stack: Stack, prefix: str, hop: str, edge: str) -> None:
    paths = {path["next_hop"]: path for path in await paths_at_r1(stack.r1_grpc, prefix)}
    assert {where: path["local_pref"] for where, path in paths.items()} == {
        hop.format(1): 300,
        hop.format(2): 200,
        hop.format(3): 100,
        edge: 300,
    }
    assert paths[hop.format(2)]["as_path"] == [64602, 65010]


async def test_nothing_but_own_prefixes_is_exported(stack: Stack) -> None:
    prefix = PREFIXES[1]
    await inject(stack.site, "r1", prefix, "198.51.100.2")

    async def overridden() -> bool:
        return bool((await paths_at_r1(stack.r1_grpc, prefix))[0]["local_pref"] == 1000)

    try:
        await eventually(overridden)
        for peer in NEIGHBOURS:
            sent = await gobgp.gobgp(stack.r1_grpc, "neighbor", peer, "adj-out")
            assert list(sent) == ["198.18.0.0/16"], f"what {peer} is sent"
    finally:
        await withdraw(stack.site, "r1", prefix)


async def test_overrides_need_the_marker(stack: Stack) -> None:
    prefix, canary = PREFIXES[1:]
    await inject(stack.site, "r1", prefix, "198.51.100.2", community="64512:912")
    await inject(stack.site, "r1", canary, "198.51.100.2", local_pref=5000)

    async def canary_is_best() -> bool:
        return bool((await paths_at_r1(stack.r1_grpc, canary))[0]["peer"] == "127.0.0.21")

    try:
        # Sent later on the same session: when it is there, the other one was refused.
        await eventually(canary_is_best)
        assert (await paths_at_r1(stack.r1_grpc, canary))[0]["local_pref"] == 1000, "the edge bounds it"
        assert "127.0.0.21" not in {path["peer"] for path in await paths_at_r1(stack.r1_grpc, prefix)}
    finally:
        for each in (prefix, canary):
            await withdraw(stack.site, "r1", each)
