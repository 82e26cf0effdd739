"""Runs: consecutive messages of the flow topic that are taken in one go, for Python is slow once a message.

Flows of a run that differ in nothing but destination and size form a group, which is attributed once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from app.feeds.flows import UNUSABLE, Flow, Item, Marker, check, decode, decode_lines
from app.feeds.lines import Bad

LARGE_BYTES = 16 * 1024  # a message above it
MARKER_BYTES = 512  # of a message with nothing but a marker
MARK = b'"purge_'  # begins the event_type of every marker, as pmacct writes it


class Run(NamedTuple):
    """What a run holds, in the order in which it is taken. The flows of a group are alike but for `ip_dst` and size."""

    groups: list[list[Flow]]
    markers: list[Marker]
    bad: list[Bad]


def runs(messages: Sequence[bytes], alone: int) -> Iterator[slice]:
    """Cut after each marker that is a message of its own, as pmacct sends it, and around each of the first `alone`."""
    begin = 0
    for end, message in enumerate(messages, 1):
        if end <= alone or (len(message) < MARKER_BYTES and MARK in message):
            yield slice(begin, end)
            begin = end
    if begin < len(messages):
        yield slice(begin, len(messages))


def read(messages: Sequence[bytes]) -> Run:
    """Decode and group; never raises."""
    try:
        run = _sort(chain.from_iterable(map(decode_lines, _pieces(messages))))
        for flows in run.groups:
            check(flows[0], max([flow.size_bytes for flow in flows]))
    except UNUSABLE:
        return _sort(item for message in messages for item in decode(message))
    return run


def _pieces(messages: Sequence[bytes]) -> Iterator[bytes]:
    """Small messages are decoded together; to copy large ones would cost more than it saves."""
    if sum(map(len, messages)) < LARGE_BYTES * len(messages):
        return iter([b"\n".join(messages)])
    return iter(messages)


def _sort(items: Iterable[Item | Bad]) -> Run:
    groups: dict[tuple[str, int, int, str, int], list[Flow]] = defaultdict(list)
    run = Run([], [], [])
    for item in items:
        if isinstance(item, Flow):
            groups[item.exporter, item.iface_in, item.iface_out, item.arrived, item.sampling_rate].append(item)
        elif isinstance(item, Bad):
            run.bad.append(item)
        else:
            run.markers.append(item)
    run.groups.extend(groups.values())
    return run
