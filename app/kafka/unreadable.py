"""Records that a reader outside of Faust cannot use: they are skipped, counted by topic, and some are logged.

An agent makes a dead letter of such a record; a page or a command has nobody to write to but the one who looks at it.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from aiokafka import ConsumerRecord

from app.contract.decoding import Read, Rejected
from app.contract.signing import Keyring
from app.kafka.bounded import refusal_of

log = logging.getLogger(__name__)
T = TypeVar("T")


class Unreadable:
    """How many records of each topic could not be used. The 1st, 10th, 100th and so on of a topic are logged."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()

    def note(self, topic: str, which: str, reason: str) -> None:
        """Count the record that `which` describes, such as "the record at offset 7"."""
        self.records[topic] += 1
        count = self.records[topic]
        if count == 10 ** (len(str(count)) - 1):
            so_far = f" ({count} so far)" if count > 1 else ""
            log.error("%s: %s cannot be read: %s%s", topic, which, reason, so_far)

    def without_refused(self, records: Iterable[ConsumerRecord]) -> Iterator[ConsumerRecord]:
        """The records, without those that stand for a batch that could not be read."""
        for record in records:
            if (reason := refusal_of(record)) is None:
                yield record
            else:
                self.note(record.topic, f"the batch up to offset {record.offset}", reason)


def decoded(
    records: Iterable[ConsumerRecord], read: Read[T], trust: Keyring | None = None
) -> Iterator[tuple[ConsumerRecord, T]]:
    """The records that can be used, each with what it says; the others are logged as Unreadable does.

    With `trust`, only those are used that may be obeyed.
    """
    unreadable = Unreadable()
    for record in records:
        if trust is None:
            value = read(record.value)
        else:
            value = trust.read(read, record.topic, record.key, record.value, record.timestamp / 1000)
        if isinstance(value, Rejected):
            unreadable.note(record.topic, f"the record at offset {record.offset}", value.reason)
        else:
            yield record, value
