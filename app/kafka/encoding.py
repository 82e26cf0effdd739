"""Records as bytes. One that no broker would accept is counted and dropped here: it would fail each time it is sent."""

import logging

import msgspec

from app import metrics
from app.contract import topics

log = logging.getLogger(__name__)


def encoded(topic: str, value: msgspec.Struct) -> bytes | None:
    """A record of this topic as JSON; None if it is larger than the topic takes."""
    record = msgspec.json.encode(value)
    if len(record) <= (bytes_max := topics.record_bytes_max(topic)):
        return record
    metrics.UNPUBLISHED.labels(topic).inc()
    log.error("%s: a record of %d bytes is not published: at most %d", topic, len(record), bytes_max)
    return None
