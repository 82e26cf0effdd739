"""Reading our own topics: what has fallen silent is found behind those that go on writing."""

import msgspec
import pytest

from app.cli.situation import read_sources
from app.config.settings import Kafka
from app.kafka import read
from app.kafka.read import read_newest
from app.kafka.silence import _silent
from tests.app.kafka.memory import MemoryConsumer, Record, consuming_from
from tests.app.web.records import WINDOW_S, sources

TOPIC = "sources"


def published(pop: str, number: int) -> Record:
    record = msgspec.structs.replace(sources(number * WINDOW_S), pop=pop)
    return Record(TOPIC, msgspec.json.encode(record))


async def newest(monkeypatch: pytest.MonkeyPatch, consumer: MemoryConsumer, *wanted: str) -> dict[str, int]:
    """When the newest window of each PoP began, in windows."""
    monkeypatch.setattr(read, "_consumer", consuming_from(lambda: consumer))
    found = await read_newest(Kafka(), TOPIC, read_sources, lambda record: record.pop, wanted)
    return {pop: int(record.window_start.timestamp()) // WINDOW_S for pop, record in found.items()}


@pytest.mark.parametrize("windows", [10, 360, 8640])
async def test_a_pop_that_fell_silent_long_ago_is_found(monkeypatch: pytest.MonkeyPatch, windows: int) -> None:
    topic = [published("dead", 1), published("dead", 2), *(published("live", 3 + n) for n in range(windows))]
    found = await newest(monkeypatch, MemoryConsumer({TOPIC: topic}), "live", "dead")
    assert found == {"live": 2 + windows, "dead": 2}


async def test_where_all_write_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = MemoryConsumer({TOPIC: [published(pop, n) for n in range(5000) for pop in ("a", "b")]})
    assert await newest(monkeypatch, consumer, "a", "b") == {"a": 4999, "b": 4999}
    assert consumer.fetched < 1000


async def test_a_key_that_never_wrote_is_left_out_after_a_bounded_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "BACK_MAX", 2000)
    consumer = MemoryConsumer({TOPIC: [published("live", n) for n in range(6000)]})
    assert await newest(monkeypatch, consumer, "live", "never") == {"live": 5999}
    assert consumer.fetched < 3000
    assert await newest(monkeypatch, MemoryConsumer({TOPIC: []}), "live") == {}


async def test_a_topic_that_does_not_exist_is_silent() -> None:
    consumer = MemoryConsumer({"flows": [Record("flows", b"", timestamp=95_000)], "old": [Record("old", b"")]})
    assert await _silent(consumer, {"flows": 30.0, "old": 30.0, "absent": 30.0}, 100.0) == {"old", "absent"}
    assert await _silent(consumer, {"absent": 30.0}, 100.0) == {"absent"}
