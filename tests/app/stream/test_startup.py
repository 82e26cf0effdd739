"""What a start finds at its brokers: topics that are new, missing or not as they must be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError

from app.config.settings import Kafka
from app.errors import DaemonError
from app.kafka.topic_ids import TopicState
from app.stream import startup
from app.stream.startup import input_ids, known_topics

KAFKA = Kafka(broker="k1:9092", answer_s=10)
ONE = TopicState("first", 1, has_leaders=True)
Brokers = list[dict[str, TopicState]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits take no time, but turns."""
    monkeypatch.setattr(startup, "RETRY_S", 0.0)
    monkeypatch.setattr(startup, "LAG_S", 0.01)


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: Brokers) -> list[Sequence[str]]:
    """What the brokers say each time they are asked, the last of it for ever; returns what they were asked."""
    asked: list[Sequence[str]] = []

    @asynccontextmanager
    async def asking(kafka: Kafka) -> AsyncIterator[None]:
        yield

    async def states_by_broker(admin: Any, names: Sequence[str]) -> Brokers:
        asked.append(names)
        return rounds[min(len(asked), len(rounds)) - 1]

    monkeypatch.setattr(startup, "asking", asking)
    monkeypatch.setattr(startup, "states_by_broker", states_by_broker)
    return asked


async def test_topics_that_every_broker_knows_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, [{"flows": ONE}, {"flows": ONE}])
    assert await input_ids(KAFKA, ["flows"]) == {"flows": "first"}
    assert asked == [["flows"]]


async def test_a_topic_that_was_just_created_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """First no broker knows it, then one does, then both, and last it has a leader. Else: PartitionsMismatch."""
    young = ONE._replace(has_leaders=False)
    asked = answers(monkeypatch, [{}, {}], [{"rows": ONE}, {}], [{"rows": ONE}, {"rows": young}], [{"rows": ONE}] * 2)
    assert await known_topics(KAFKA, ["rows"]) == {"rows": ONE}
    assert len(asked) == 4


async def test_a_topic_that_no_broker_gets_to_know_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, [{"flows": ONE}])
    with pytest.raises(DaemonError, match=r"^broker k1:9092: no topic bmp; `autopilot check` shows how to create it$"):
        await input_ids(KAFKA, ["bmp", "flows"])


async def test_a_topic_with_more_partitions_is_said_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust's PartitionsMismatch told people to change the changelog instead, at each start again."""
    answers(monkeypatch, [{"flows": ONE._replace(partitions=2)}])
    with pytest.raises(DaemonError, match=r"^topic flows has 2 partitions, and only the first of them would be read"):
        await input_ids(KAFKA, ["flows"])


async def test_a_topic_without_a_leader_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, [{"flows": ONE._replace(has_leaders=False)}])

    @asynccontextmanager
    async def asking(kafka: Kafka) -> AsyncIterator[None]:
        async with asyncio.timeout(0.01):
            yield

    monkeypatch.setattr(startup, "asking", asking)
    with pytest.raises(DaemonError, match=r"^broker k1:9092: flows: no leader yet$"):
        await input_ids(KAFKA, ["flows"])


async def test_a_broker_that_restarts_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a rolling update the next broker has the answer: no worker ends for it."""
    failures: list[Exception] = [NodeNotReadyError(), TimeoutError()]

    @asynccontextmanager
    async def asking(kafka: Kafka) -> AsyncIterator[None]:
        if failures:
            raise failures.pop(0)
        yield

    async def topic_ids(admin: Any, names: Sequence[str]) -> dict[str, str]:
        return {"flows": "first"}

    async def commits_of(admin: Any, group: str) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(startup, "asking", asking)
    monkeypatch.setattr(startup, "topic_ids", topic_ids)
    monkeypatch.setattr(startup, "commits_of", commits_of)
    assert await startup.ask(KAFKA, "group", "flows") == ("first", "")
    assert failures == []
