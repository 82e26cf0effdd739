"""Where a one-partition topic stands for the consumer of an app; asked from its event loop, never from the broker.

All are positions (app/stream/incarnations.py), as rows remember them.
"""

from typing import Any

from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from app.stream.app import ExactApp


def end_offset(app: ExactApp, topic: str) -> int | None:
    """Where it ended at the last fetch; None before one."""
    consumer: Any = app.consumer
    try:
        end: int | None = consumer.highwater(TP(topic, 0))
    except (ConsumerNotStarted, AssertionError):  # aiokafka asserts that the partition is assigned
        return None
    return None if end is None else end + base(app, topic)


def committed(app: ExactApp, topic: str) -> int:
    """What comes after the committed offset; below everything before the first commit."""
    consumer: Any = app.consumer
    offset = next((offset or 0 for tp, offset in consumer._committed_offset.items() if tp.topic == topic), 0)
    return offset + base(app, topic)


def base(app: ExactApp, topic: str) -> int:
    """The position of its offset 0; 0 of a topic whose records are not counted in rows."""
    return app.inputs.bases.get(topic, 0)
