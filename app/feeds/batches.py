"""Batches: consecutive messages of the flow topic are read together, because Python has a high cost per message."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from app.feeds.columns import FlowColumns, flows_of, joined
from app.feeds.flows import Flow, Marker, decode
from app.feeds.rejected import RAW_BYTES_MAX, Rejected
from app.feeds.scan import scan

LARGE_BYTES = 16 * 1024  # message size: copying larger messages costs more than it saves
MARKER_BYTES = 512  # a message with only a marker is smaller than this
MARK = b'"purge_'  # the event_type of every marker begins like this, as pmacct writes it


class Batch(NamedTuple):
    """The content of some messages: flows, markers in their order, and lines that cannot be used."""

    flows: FlowColumns
    markers: list[Marker]
    rejected: list[Rejected]


def batches(messages: Sequence[bytes], alone: int, borders: Collection[int] = ()) -> Iterator[slice]:
    """Cut messages into batches: after each message with only a marker, as pmacct sends it, and at these borders.

    Each of the first `alone` messages becomes a batch of its own.
    """
    begin = 0
    for end, message in enumerate(messages, 1):
        if end <= alone or end in borders or (len(message) < MARKER_BYTES and MARK in message):
            yield slice(begin, end)
            begin = end
    if begin < len(messages):
        yield slice(begin, len(messages))


def numbered(message: bytes, items: Sequence[Rejected]) -> Iterator[Rejected]:
    """The rejected lines of one message, in their order, each with its index; what is no line follows the last."""
    lines, index = enumerate(message.split(b"\n")), -1
    for item in items:
        index = next((i for i, line in lines if line[:RAW_BYTES_MAX] == item.raw), index + 1)
        yield msgspec.structs.replace(item, index=index)


def read(messages: Sequence[bytes]) -> Batch:
    """Decode all lines of some messages; never raises."""
    small = sum(map(len, messages)) < LARGE_BYTES * len(messages)
    flows, unscanned = scan([b"\n".join(messages)] if small else messages)
    items = list(decode(b"\n".join(unscanned)))
    if decoded := [item for item in items if isinstance(item, Flow)]:
        flows = joined(flows, flows_of(decoded))
    return Batch(
        flows,
        [item for item in items if isinstance(item, Marker)],
        [item for item in items if isinstance(item, Rejected)],
    )
