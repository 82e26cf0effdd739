"""Batches: consecutive messages of the flow topic that are read in one go, because Python is slow once a message."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.feeds.columns import FlowColumns, flows_of, joined
from app.feeds.flows import Flow, Marker, decode
from app.feeds.rejected import Rejected
from app.feeds.scan import scan

LARGE_BYTES = 16 * 1024  # of a message: to copy larger ones would cost more than it saves
MARKER_BYTES = 512  # of a message with nothing but a marker
MARK = b'"purge_'  # begins the event_type of every marker, as pmacct writes it


class Batch(NamedTuple):
    """What messages hold: flows, markers in their order, and what cannot be used."""

    flows: FlowColumns
    markers: list[Marker]
    rejected: list[Rejected]


def batches(messages: Sequence[bytes], alone: int) -> Iterator[slice]:
    """Cut after each marker that is a message of its own, as pmacct sends it, and around each of the first `alone`."""
    begin = 0
    for end, message in enumerate(messages, 1):
        if end <= alone or (len(message) < MARKER_BYTES and MARK in message):
            yield slice(begin, end)
            begin = end
    if begin < len(messages):
        yield slice(begin, len(messages))


def read(messages: Sequence[bytes]) -> Batch:
    """Decode some messages; never raises."""
    small = sum(map(len, messages)) < LARGE_BYTES * len(messages)
    flows, left = scan([b"\n".join(messages)] if small else messages)
    items = list(decode(b"\n".join(left)))
    if others := [item for item in items if isinstance(item, Flow)]:
        flows = joined(flows, flows_of(others))
    return Batch(
        flows,
        [item for item in items if isinstance(item, Marker)],
        [item for item in items if isinstance(item, Rejected)],
    )
