"""A publisher for tests: keeps what it is given."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from app.stream.consumer import Record
from app.stream.publish import Publisher, Queued


class Outbox:
    """`letters` are dead letters as text, `records` what was published, by topic."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.records: list[tuple[str, msgspec.Struct]] = []
        self._taken = 0

    @property
    def publisher(self) -> Publisher:
        return cast(Publisher, self)

    def put(self, topic: str, key: str, value: msgspec.Struct, sent: Callable[[], None] = lambda: None) -> None:
        self.records.append((topic, value))
        sent()

    def dead_letter(self, tp: Any, record: Record, rejected: Any) -> None:
        self.letters.append(f"{tp.topic}@{record.offset}: {rejected.reason}")

    def take(self) -> list[Any]:
        return []

    def take_records(self) -> list[Queued]:
        new, self._taken = self.records[self._taken :], len(self.records)
        return [Queued(topic, "", msgspec.json.encode(value)) for topic, value in new]

    def sending(self, record: Queued) -> Callable[[], Awaitable[Queued]]:
        async def send() -> Queued:
            return record

        return send

    def drop(self) -> None:
        self.letters.clear()
        self.records.clear()
        self._taken = 0
