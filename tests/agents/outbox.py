"""A publisher for tests: keeps what it is given."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from app.stream.consumer import Record
from app.stream.publish import Publisher


class Outbox:
    """`letters` are dead letters as text, `records` what was published, by topic."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.records: list[tuple[str, msgspec.Struct]] = []

    @property
    def publisher(self) -> Publisher:
        return cast(Publisher, self)

    def put(self, topic: str, key: str, value: msgspec.Struct, sent: Callable[[], None] | None = None) -> None:
        self.records.append((topic, value))
        if sent is not None:
            sent()

    def dead_letter(self, tp: Any, record: Record, rejected: Any) -> None:
        self.letters.append(f"{tp.topic}@{record.offset}: {rejected.reason}")

    def take(self) -> list[Any]:
        return []

    def drop(self) -> None:
        self.letters.clear()
        self.records.clear()
