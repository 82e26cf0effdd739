"""The neighbours: they hear what they are told, and killing one ends one session."""

import pytest

from app.clock import SystemClock
from app.contract.topics import BMP
from app.lab.daemons import exabgp, frr
from app.lab.daemons.stack import Stack
from tests.integration.bgp import eventually
from tests.integration.conftest import announced
from tests.integration.kafka_reader import Record, records_until

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


async def test_every_ear_works_and_heard_own_prefixes_only(stack: Stack) -> None:
    for peer in announced():
        assert set(stack.received(peer)) == set(stack.pop.own_prefixes), f"what {peer} was told"


async def test_killing_one_ends_one_session(stack: Stack) -> None:
    peer = "127.0.0.36"
    sessions = {session.peer: session for link in stack.pop.link for session in link.sessions}

    def down(found: list[Record]) -> bool:
        return any(record.get("bmp_msg_type") == "peer_down" and record["peer_ip"] == peer for record in found)

    before_s = SystemClock().now_s()
    killed_at_s = await stack.kill_neighbour(peer)
    assert before_s <= killed_at_s <= SystemClock().now_s()
    await records_until(stack.kafka.broker, BMP.for_pop(stack.pop.name), down)
    summary = await frr.vty(stack.r2_vty, "show bgp ipv4 unicast summary json")
    not_up = [address for address, seen in summary["peers"].items() if seen["state"] != "Established"]
    assert not_up == [peer]

    # The other tests want it back.
    told = len(stack.received(peer))
    await stack.runner.stop(exabgp.name_of(peer))
    routes = announced()[peer]
    await exabgp.start_neighbour(stack.runner, stack.site, stack.pop, stack.pop.routers["r2"], sessions[peer], routes)
    up = frr.established(stack.r2_vty, {peer: len(routes)})

    async def back() -> bool:
        return await up() is None and len(stack.received(peer)) > told

    await eventually(back)
