"""Faults of what the collectors send: wrong, late, twice, differently, or not at all."""

import asyncio
from collections.abc import Awaitable, Callable

from app.errors import DaemonError
from tests.faults import evidence
from tests.faults.feed import Feed
from tests.faults.rig import Rig
from tests.patience import PATIENCE_S
from tests.pops import capacity_bps

CHANGED_S = 6.0  # three windows
SILENT_S = 15.0
POISON = (
    b"nonsense",
    b"\xff\xfe",
    b"[" * 5000,
    b"42",
    b'{"event_type": "purge"}',
    b'{"event_type": "purge_init"}',
    b'{"event_type": "purge", "peer_ip_src": "192.0.2.1", "iface_in": 1, "iface_out": 101, "ip_dst": "20.0.0.9",'
    b' "timestamp_arrival": "1795246109.000000", "sampling_rate": 32768, "packets": 1, "bytes": -5}',
    b'{"event_type": "purge", "peer_ip_src": "192.0.2.1", "iface_in": 1, "iface_out": 101, "ip_dst": "20.0.0.9",'
    b' "timestamp_arrival": "NaN", "sampling_rate": 32768, "packets": 1, "bytes": 5}',
    b'{"event_type": "purge", "peer_ip_src": "192.0.2.1", "iface_in": 1, "iface_out": 101, "ip_dst": "20.0.0.9",'
    b' "timestamp_arrival": "1795246109.000000", "sampling_rate": 9223372036854775808, "packets": 1, "bytes": 5}',
)


async def poison(rig: Rig) -> None:
    """Each becomes one dead letter, and nothing else changes."""
    async with rig.fault():
        await rig.feed.send(POISON)
        rig.feed.traffic.ledger.dead_letters += len(POISON)
        await rig.feed.settled()
    await rig.goes_on()


async def sent_twice(rig: Rig) -> None:
    """By the sender, so with offsets of their own: these are counted twice, for nobody can know."""

    def change(feed: Feed, now: bool) -> None:
        feed.copies = 2 if now else 1

    await _for_a_while(rig, change)


async def late(rig: Rig) -> None:
    """A third of all records behind the watermark, the others out of order as always."""

    def change(feed: Feed, now: bool) -> None:
        feed.traffic.mix.late_share = 0.33 if now else 0.01

    await _for_a_while(rig, change)


async def clock_wrong(rig: Rig) -> None:
    """Of sfacctd: ten minutes ahead is told as skew, ten minutes behind as late."""
    skew_s = 600.0 if len(rig.moments) % 2 == 0 else -600.0

    def change(feed: Feed, now: bool) -> None:
        feed.traffic.mix.skew_s = skew_s if now else 0.0

    await _for_a_while(rig, change)


async def rate_changes(rig: Rig) -> None:
    """Every record is scaled by its own rate."""

    def change(feed: Feed, now: bool) -> None:
        feed.traffic.mix.rates = (1000, 4000, 16384) if now else (32768,)

    await _for_a_while(rig, change)


async def renumbered(rig: Rig) -> None:
    """A router comes back with another ifIndex: unattributed until the inventory knows, never another link's."""

    def change(feed: Feed, now: bool) -> None:
        feed.traffic.mix.renumbered = {("r1", 101): 501} if now else {}

    await _for_a_while(rig, change)


async def speed_changes(rig: Rig) -> None:
    """Capacity is what the counters say now."""
    feed = rig.feed
    async with rig.fault():
        feed.speed_share = 0.5 if feed.speed_share == 1.0 else 1.0
    wanted = {name: capacity_bps(link) * feed.speed_share for name, link in feed.pop.links.items()}

    async def told() -> bool:
        published = await evidence.utilization(rig.broker, feed.pop.name)
        newest = {one.record.link: one.record.capacity_bps for one in published}
        return newest == wanted

    await _expect(rig, told, "the published capacity is not the links' speed")


async def collector_killed(rig: Rig) -> None:
    """No markers, so no window closes and nothing is invented; what it holds dies with it and was never sent."""
    feed = rig.feed
    async with rig.fault():
        feed.kill()
        await asyncio.sleep(3.0)
        await feed.settled()
        before = (await rig.progress(feed.pop.name)).closed_up_to_s
        await asyncio.sleep(SILENT_S)
        if (await rig.progress(feed.pop.name)).closed_up_to_s != before:
            rig.problems.append("a window was closed while its collector was dead")
        feed.resume()
    await rig.goes_on()


async def one_pop_silent(rig: Rig) -> None:
    """Its windows stay open; those of the other PoP close as ever."""
    heard, silent = rig.feeds.values()
    async with rig.fault():
        await silent.pause()
        began_s = rig.clock.now_s()

        async def others_close() -> bool:
            return ((await rig.progress(heard.pop.name)).closed_up_to_s or 0) > began_s + SILENT_S / 2

        await _expect(rig, others_close, f"{heard.pop.name} stands still while {silent.pop.name} is silent")
        if ((await rig.progress(silent.pop.name)).closed_up_to_s or 0) > began_s:
            rig.problems.append("a window of the silent PoP was closed")
        silent.resume()
    await rig.goes_on()


async def _for_a_while(rig: Rig, change: Callable[[Feed, bool], None]) -> None:
    async with rig.fault():
        change(rig.feed, True)
        await asyncio.sleep(CHANGED_S)
        change(rig.feed, False)
    await rig.goes_on()


async def _expect(rig: Rig, happened: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    try:
        await rig.until(happened, PATIENCE_S)
    except (TimeoutError, DaemonError):
        rig.problems.append(otherwise)
