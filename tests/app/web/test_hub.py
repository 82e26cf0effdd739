"""A slow page is given a snapshot instead of what it missed, and keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

from app.web.hub import PAGES_MAX, WAITING_MAX, Hub
from tests.patience import PATIENCE_S


async def take(updates: AsyncIterator[bytes], count: int) -> list[bytes]:
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(updates) for _ in range(count)]


async def test_a_page_begins_with_a_snapshot_and_follows() -> None:
    hub = Hub()
    with hub.page("a", lambda: b"whole") as page:
        updates = page.updates()
        assert await take(updates, 1) == [b"whole"]
        hub.tell("a", b"1")
        hub.tell("b", b"of another PoP")
        hub.tell("a", b"2")
        assert await take(updates, 2) == [b"1", b"2"]


async def test_a_page_that_takes_nothing_loses_the_oldest_and_gets_a_snapshot() -> None:
    hub = Hub()
    with hub.page("a", lambda: b"whole") as slow, hub.page("a", lambda: b"whole") as quick:
        slow_updates, quick_updates = slow.updates(), quick.updates()
        await take(slow_updates, 1)
        await take(quick_updates, 1)
        for number in range(WAITING_MAX + 1):
            hub.tell("a", b"%d" % number)
            assert await take(quick_updates, 1) == [b"%d" % number]
        assert await take(slow_updates, 1) == [b"whole"]
        hub.tell("a", b"later")
        assert await take(slow_updates, 1) == [b"later"]


async def test_a_page_just_within_its_queue_misses_nothing() -> None:
    hub = Hub()
    with hub.page("a", lambda: b"whole") as page:
        updates = page.updates()
        await take(updates, 1)
        told = [b"%d" % number for number in range(WAITING_MAX)]
        for update in told:
            hub.tell("a", update)
        assert await take(updates, WAITING_MAX) == told


async def test_closing_ends_every_stream() -> None:
    hub = Hub()
    with hub.page("a", lambda: b"whole") as page:
        hub.close()
        assert [update async for update in page.updates()] == []


def test_pages_are_bounded_and_forgotten() -> None:
    hub = Hub()
    with ExitStack() as pages:
        for _ in range(PAGES_MAX):
            assert not hub.full
            pages.enter_context(hub.page("a", bytes))
        assert hub.full
    assert not hub.full
