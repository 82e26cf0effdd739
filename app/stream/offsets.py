"""Where a one-partition topic stands for the consumer of an app; asked from its event loop, never from the broker."""

from typing import Any

import faust
from faust.exceptions import ConsumerNotStarted
from faust.types import TP


def end_offset(app: faust.App, topic: str) -> int | None:
    """Where it ended at the last fetch; None before one."""
    consumer: Any = app.consumer
    try:
        end: int | None = consumer.highwater(TP(topic, 0))
    except (ConsumerNotStarted, AssertionError):  # aiokafka asserts that the partition is assigned
        return None
    return end


def committed(app: faust.App, topic: str) -> int:
    """The committed offset; 0 before the first commit."""
    consumer: Any = app.consumer
    return next((offset or 0 for tp, offset in consumer._committed_offset.items() if tp.topic == topic), 0)
