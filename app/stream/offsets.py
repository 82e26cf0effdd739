"""How far an app's consumer is in a one-partition topic; call from its event loop.

Where nothing else is said, the broker is not asked, and results are positions (app/stream/incarnations.py), as rows
count them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from faust.types import TP

from app import private_names
from app.stream.app import ExactApp


def end_offset(app: ExactApp, topic: str) -> int | None:
    """The position at which the topic ended at the last fetch; None before the first fetch."""
    end = app.end(topic)
    return None if end is None else end + base(app, topic)


def committed(app: ExactApp, topic: str) -> int:
    """The position after the last committed record; before the first commit, the position of offset 0."""
    offsets = private_names.committed_offsets(app.consumer)
    offset = next((offset or 0 for tp, offset in offsets.items() if tp.topic == topic), 0)
    return offset + base(app, topic)


def base(app: ExactApp, topic: str) -> int:
    """The position of the topic's offset 0; it is 0 for a topic whose records no rows count."""
    return app.inputs.bases.get(topic, 0)


async def ends_of(app: ExactApp, topics: Sequence[str]) -> dict[str, int]:
    """Ask the broker for the offset after the last record of each of these topics that this worker owns."""
    partitions = owned(app, topics)
    return {tp.topic: end for tp, end in (await app.consumer.highwaters(*partitions)).items()} if partitions else {}


def owned(app: ExactApp, topics: Iterable[str]) -> list[TP]:
    """The partitions of these topics that this worker owns; a standby owns none."""
    actives: Any = app.assignor.assigned_actives()
    return [tp for tp in (TP(topic, 0) for topic in topics) if tp in actives]
