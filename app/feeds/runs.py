"""Runs: consecutive messages of the flow topic that are taken in one go, for Python is slow once a message.

Flows of a run that differ in nothing but destination and size form a group, which is attributed once.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from app.feeds.flows import UNUSABLE, Flow, Item, Marker, check, decode, decode_lines
from app.feeds.lines import Bad

MARK = b'"purge_'  # begins the event_type of every marker, as pmacct writes it


class Run(NamedTuple):
    """What a run holds, in the order in which it is taken. The flows of a group are alike but for `ip_dst` and size."""

    groups: list[list[Flow]]
    markers: list[Marker]
    bad: list[Bad]


def runs(messages: Sequence[bytes], alone: int) -> Iterator[slice]:
    """Cut where order matters: after each message with a marker, and around each of the first `alone`."""
    begin = 0
    for end, message in enumerate(messages, 1):
        if end <= alone or MARK in message:
            yield slice(begin, end)
            begin = end
    if begin < len(messages):
        yield slice(begin, len(messages))


def read(messages: Sequence[bytes]) -> Run:
    """Decode and group; never raises."""
    try:
        run = _sort(decode_lines(b"\n".join(messages)))
        for flows in run.groups:
            check(flows[0], max(flow.size_bytes for flow in flows))
    except UNUSABLE:
        return _sort(item for message in messages for item in decode(message))
    return run


def _sort(items: Iterable[Item | Bad]) -> Run:
    groups: dict[tuple[str, int, int, str, int], list[Flow]] = {}
    run = Run([], [], [])
    for item in items:
        if isinstance(item, Flow):
            key = item.exporter, item.iface_in, item.iface_out, item.arrived, item.sampling_rate
            if (group := groups.get(key)) is None:
                group = groups[key] = []
            group.append(item)
        elif isinstance(item, Bad):
            run.bad.append(item)
        else:
            run.markers.append(item)
    run.groups.extend(groups.values())
    return run
