"""What the ticker of a reader does when no event comes: flushes, commits, and rows that are behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from app.stream import exact
from app.stream.consumer import BEHIND_BYTES
from tests.app.stream.test_exact import SOURCE, Stream, batch, patched, reader
from tests.patience import PATIENCE_S


async def test_an_event_that_no_other_follows_is_flushed_by_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [[0]])
    stream.channel.queue.empty = lambda: False  # never looks dry
    acked = asyncio.Event()

    async def hold(event: Any) -> bool:
        acked.set()
        return True

    async def events() -> AsyncIterator[Any]:
        yield batch([0])
        await acked.wait()

    with patched(stream, "events", events), patched(stream, "ack", hold):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert "progress" in log


async def test_rows_of_full_fetches_wait_for_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two fetches the stream is always dry: a flush each cost a worker that catches up a fifth of its time."""
    log: list[str] = []
    await reader(log).run(Stream(log, [[0], [1]], size_bytes=BEHIND_BYTES))
    assert log == ["apply 0", "apply 1"]
    at_once(monkeypatch)
    late = Stream(log, [[2]], size_bytes=BEHIND_BYTES)
    acked, events = asyncio.Event(), late.events

    async def waits() -> AsyncIterator[Any]:
        async for event in events():
            yield event
        await acked.wait()

    async def ack(event: Any) -> bool:
        acked.set()
        return True

    with patched(late, "events", waits), patched(late, "ack", ack):
        await asyncio.wait_for(reader(log, committed=2).run(late), PATIENCE_S)
    assert "progress" in log


async def test_rows_that_are_behind_are_written_until_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream, whole = Stream(log, []), asyncio.Event()

    def checkpoint() -> Mapping[str, int]:
        """A position further by each flush."""
        flushes = log.count("progress")
        if flushes == 6:
            whole.set()
        return {SOURCE.topic: min(flushes - 1, 4)}

    async def events() -> AsyncIterator[Any]:
        yield batch(range(5))
        await asyncio.sleep(0.2)
        yield batch([5])
        await whole.wait()

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log, checkpoint=checkpoint).run(stream), PATIENCE_S)
    assert log[: log.index("apply 5")].count("rows") == 5, "as often as it takes, and no more"
    assert log.count("ack 4") == 1, "what rows lack is in the topic: it was acknowledged at once"


async def test_who_caught_up_commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [])

    async def events() -> AsyncIterator[Any]:
        yield batch([0], BEHIND_BYTES)
        yield batch([1])
        while "commit" not in log:
            await asyncio.sleep(0.01)
        yield batch([2])
        await asyncio.sleep(0.1)

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert log[log.index("commit") - 1] == "ack 1"
    assert log.count("commit") == 1, "Faust commits once a second, which is often enough for who keeps up"


async def test_who_went_dry_after_a_full_fetch_commits_by_the_ticker(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    log: list[str] = []
    stream = Stream(log, [])

    async def events() -> AsyncIterator[Any]:
        yield batch([0], BEHIND_BYTES)
        while "commit" not in log:
            await asyncio.sleep(0.01)

    with patched(stream, "events", events):
        await asyncio.wait_for(reader(log).run(stream), PATIENCE_S)
    assert log[-2:] == ["ack 0", "commit"]


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that waits for its time."""
    for every in ("LOOK_EVERY_S", "FLUSH_EVERY_S", "WRITE_ON_EVERY_S"):
        monkeypatch.setattr(exact, every, 0.01)
