"""Forged flow records: one datagram each two seconds, from an address that may send, moves nothing and is named.

sFlow version 5 has no authentication and lets the sender say what a sample stands for (`sampling_rate`). Before, such a
record barred a whole PoP, or made it move the whole budget of overrides.
"""

from typing import Any

import msgspec
import pytest

from app.config.inventory import Pop
from tests.cases.forged_world import EXCHANGED, PEERED, TRANSIT, ForgedWorld
from tests.pops import demo_pop

OUT = {PEERED: 101, EXCHANGED: 102, TRANSIT: 103}
ABSURD, BELOW_THE_LIMIT, LARGE, DOUBLED = 10**8, 8 * 10**7, 10**6, 65536


def record(prefix: int, link: str, rate: int, **changes: Any) -> dict[str, Any]:
    """Of a prefix: below 20 its home is the peering, else the exchange."""
    made = {"rate": rate, "size_bytes": 1500, "packets": 1, "iface_out": OUT[link], "ip_dst": f"20.0.{prefix}.200"}
    return made | changes


def assert_nothing_happened(world: ForgedWorld) -> None:
    decision = world.decision
    assert (decision.overrides, decision.barred, decision.congestion) == ((), None, ())
    assert not decision.egress_mismatch_share


def listed() -> Pop:
    routers = tuple(msgspec.structs.replace(router, sampling_rates=(32768,)) for router in demo_pop().router)
    return msgspec.structs.replace(demo_pop(), router=routers)


@pytest.mark.parametrize("rate", [ABSURD, BELOW_THE_LIMIT, LARGE, DOUBLED])
@pytest.mark.parametrize(("prefix", "link"), [(30, PEERED), (5, EXCHANGED), (5, TRANSIT), (5, PEERED)])
def test_one_in_two_seconds_moves_nothing(rate: int, prefix: int, link: str) -> None:
    world = ForgedWorld()
    world.run(60)
    assert_nothing_happened(world)
    assert not world.notices
    for _ in range(12):
        world.run(10, record(prefix, link, rate))
        assert_nothing_happened(world)
    if rate > DOUBLED:
        (notice,) = world.notices
        assert notice.kind == "unusual-sampling-rate"
        assert f"sampling rate {rate}" in notice.text


@pytest.mark.parametrize("rate", [ABSURD, BELOW_THE_LIMIT, LARGE])
def test_nor_does_one_from_the_first_second_on(rate: int) -> None:
    """When it is not known yet what is usual."""
    world = ForgedWorld()
    for _ in range(12):
        world.run(10, record(30, PEERED, rate))
        if world.outbox.records:
            assert_nothing_happened(world)


@pytest.mark.parametrize("rate", [ABSURD, LARGE, DOUBLED])
def test_with_the_rates_in_the_inventory_none_is_believed(rate: int) -> None:
    world = ForgedWorld(pop=listed())
    for _ in range(12):
        world.run(10, *(record(30 + number % 10, PEERED, rate) for number in range(20)))
        if world.outbox.records:
            assert_nothing_happened(world)
    assert {notice.kind for notice in world.notices} == {"unlisted-sampling-rate"}


@pytest.mark.parametrize("rate", [ABSURD, BELOW_THE_LIMIT, LARGE, DOUBLED])
@pytest.mark.parametrize("link", [PEERED, EXCHANGED, TRANSIT])
def test_a_prefix_that_is_steered_is_no_way_around(rate: int, link: str) -> None:
    """Its own traffic was outside of the only check that there was."""
    usual, forged = ForgedWorld(), ForgedWorld()
    for world in (usual, forged):
        world.gbps[PEERED] = 95.0
        world.run(60)
    steered = {override.prefix for override in usual.decision.overrides}
    assert steered
    for _ in range(12):
        usual.run(10)
        forged.run(10, *(record(int(prefix.split(".")[2]), link, rate) for prefix in sorted(steered)[:1]))
        assert forged.exits == usual.exits
        assert forged.decision.barred is None


def test_a_steered_prefix_that_really_leaves_elsewhere_is_seen() -> None:
    """A static route on the router, say: what we steer has to leave by the exit that we chose."""
    world = ForgedWorld()
    world.gbps[PEERED] = 95.0
    world.run(90)
    steered = [int(override.prefix.split(".")[2]) for override in world.decision.overrides]
    assert not world.decision.egress_mismatch_share
    strays = [record(prefix, PEERED, 32768, packets=8, size_bytes=8 * 1315) for prefix in steered]
    world.run(30, *strays)
    assert (world.decision.egress_mismatch_share or 0.0) > 0.005


def test_a_small_network_is_not_moved_by_its_few_samples() -> None:
    """Ten samples a second for all: one sample in 100,000 packets, as SONiC sets on 100 Gb/s (sonic-net/SONiC 746)."""
    world = ForgedWorld(rate=10**6)
    world.run(120)
    assert_nothing_happened(world)
    for _ in range(12):
        world.run(10, record(30, PEERED, 3 * 10**6))
        assert_nothing_happened(world)
