"""Decides whether a worker makes progress. Pure: its status goes in, a reason to end it comes out.

Legitimate silence is no stall: without new records nothing has to be committed, and while no broker answers no worker
can progress, so patience starts again when it is back. A standby owns no input, but some member of its group must.
"""

from collections.abc import Iterator, Mapping

import msgspec

from app.stream.joined import Awaiting

NOBODY = "nobody in the group has committed waiting records"  # after twice the patience: the owner ends itself first


class WorkerStatus(msgspec.Struct, frozen=True):
    """What the event loop reports about its own application."""

    at_s: float  # monotonic
    waiting: bool  # for its broker and its input topics, before it starts
    recovering: bool  # joining, rebalancing or rebuilding tables
    stopping: bool  # asked to stop, or crashed
    step: tuple[object, ...]  # changes as long as a recovery makes progress
    owned: frozenset[str]  # the inputs that are assigned to this worker
    joined: Mapping[str, Awaiting] = {}  # inputs whose next event waits for others
    ids: Mapping[str, str] = {}  # of the inputs, when it started


class GroupStatus(msgspec.Struct, frozen=True):
    """What the broker reports about the inputs that exist: offsets and ids by topic."""

    begins: dict[str, int]
    ends: dict[str, int]
    committed: dict[str, int]
    ids: dict[str, str] = {}
    partitions: dict[str, int] = {}  # how many the topic has

    def unread(self) -> dict[str, int]:
        """By topic, how many partitions beyond the first it has; nobody reads them."""
        return {topic: count - 1 for topic, count in self.partitions.items() if count > 1}

    def next(self, topic: str) -> int:
        """The first offset that is neither committed nor removed by retention."""
        return max(self.committed.get(topic, 0), self.begins[topic])

    def recreated(self, ids: Mapping[str, str]) -> str | None:
        """An input whose id is not that in `ids`, or None; Faust never reads a topic again after a deletion (seen)."""
        return next((topic for topic, current in self.ids.items() if ids.get(topic, current) != current), None)

    def cut(self) -> str | None:
        """An input that ends below its committed offset, or None; its next records would be taken for repeats."""
        return next((topic for topic, end in self.ends.items() if self.committed.get(topic, 0) > end), None)

    def waiting(self, topic: str) -> int:
        """How many records of the topic are not committed."""
        return self.ends[topic] - self.next(topic)


class StallDetector:
    """Remembers since when each value that must change has stayed the same."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[str, tuple[object, float]] = {}

    def look(self, now_s: float, worker_status: WorkerStatus | None, group_status: GroupStatus | None) -> str | None:
        """Return a reason to end the process, or None. `group_status` is None while no broker answers."""
        if group_status is not None and (reason := _new_beginning(worker_status, group_status)):
            return reason
        watched = dict(_watched(worker_status, group_status))
        before = self._since
        self._since = {stall: (value, _since(before.get(stall), value, now_s)) for stall, value in watched.items()}
        for stall, (_, since_s) in self._since.items():
            if now_s - since_s > self._patience_s * (2 if stall.endswith(NOBODY) else 1):
                return f"{stall} for {now_s - since_s:.0f} s"
        return None


def _new_beginning(worker_status: WorkerStatus | None, group_status: GroupStatus) -> str | None:
    if worker_status is not None and (topic := group_status.recreated(worker_status.ids)):
        return f"{topic} was recreated: the next start reads it from its beginning"
    if topic := group_status.cut():
        end, committed = group_status.ends[topic], group_status.committed[topic]
        return f"{topic} ends at {end}, but {committed} is committed: the broker lost records that rows include"
    return None


def _since(before: tuple[object, float] | None, value: object, now_s: float) -> float:
    return before[1] if before is not None and before[0] == value else now_s


def _watched(worker_status: WorkerStatus | None, group_status: GroupStatus | None) -> Iterator[tuple[str, object]]:
    """Yield each stall that is possible now, in words, with the value that must change."""
    yield "the event loop has stood still", worker_status and worker_status.at_s
    if worker_status is None:
        return
    if worker_status.stopping:
        yield "the app crashed or was asked to stop, but the process has not ended", True
    elif worker_status.waiting or group_status is None:
        return
    elif worker_status.recovering:
        yield "recovery has made no progress", worker_status.step
    else:
        for topic in sorted(group_status.ends):
            if group_status.waiting(topic) <= 0:
                continue
            if topic in worker_status.owned:
                committed = group_status.committed.get(topic)
                joined = worker_status.joined.get(topic)
                # Only the next event may wait: what was read beside commits that stand still is no progress.
                read = joined.read if joined is not None and joined.offset <= group_status.next(topic) else None
                yield f"{topic}: waiting records have not been committed", (committed, read)
            else:
                yield f"{topic}: {NOBODY}", dict(group_status.committed)  # another input may be read first
