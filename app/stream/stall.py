"""Is a worker getting on? Pure: what is seen of it goes in, a reason to end it comes out.

Legal silence is told from a standstill: without new records nothing has to be committed, and while no broker answers
nobody gets on, so patience begins anew when it is back. A standby owns no input, but somebody of its group must.
"""

from collections.abc import Iterator, Mapping

import msgspec

NOBODY = "records wait, and nobody in the group commits any"  # given twice the patience: the owner ends itself first


class WorkerStatus(msgspec.Struct, frozen=True):
    """What the event loop says of its own application."""

    at_s: float  # monotonic
    waiting: bool  # its inputs were not there yet
    recovering: bool  # joining, rebalancing or rebuilding tables
    stopping: bool  # asked to stop, or crashed
    step: tuple[object, ...]  # changes as long as a recovery gets on
    owned: frozenset[str]  # the inputs that are assigned to this worker
    ids: Mapping[str, str] = {}  # of the inputs, when it started


class GroupStatus(msgspec.Struct, frozen=True):
    """What the broker says of the inputs that are there: offsets and ids by topic."""

    begins: dict[str, int]
    ends: dict[str, int]
    committed: dict[str, int]
    ids: dict[str, str] = {}

    def next(self, topic: str) -> int:
        """The first offset that nobody committed, of what retention left."""
        return max(self.committed.get(topic, 0), self.begins[topic])

    def recreated(self, ids: Mapping[str, str]) -> str | None:
        """An input whose id is not the one of these; Faust drops it at its deletion and never reads it again (seen)."""
        return next((topic for topic, found in self.ids.items() if ids.get(topic, found) != found), None)

    def cut(self) -> str | None:
        """An input that ends before what was committed of it; its next records would be taken for repeats."""
        return next((topic for topic, end in self.ends.items() if self.committed.get(topic, 0) > end), None)

    def waiting(self, topic: str) -> int:
        """Records from there to the end."""
        return self.ends[topic] - self.next(topic)


class StallDetector:
    """Remembers since when each thing that must change has not."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[str, tuple[object, float]] = {}

    def look(self, now_s: float, worker_status: WorkerStatus | None, group_status: GroupStatus | None) -> str | None:
        """The reason to end the process, if there is one; None for `outside` where no broker answers."""
        if group_status is not None and (reason := _new_beginning(worker_status, group_status)):
            return reason
        watched = dict(_watched(worker_status, group_status))
        before = self._since
        self._since = {about: (value, _since(before.get(about), value, now_s)) for about, value in watched.items()}
        for about, (_, since_s) in self._since.items():
            if now_s - since_s > self._patience_s * (2 if about.endswith(NOBODY) else 1):
                return f"{about}, for {now_s - since_s:.0f} s"
        return None


def _new_beginning(worker_status: WorkerStatus | None, group_status: GroupStatus) -> str | None:
    if worker_status is not None and (topic := group_status.recreated(worker_status.ids)):
        return f"{topic} was recreated: this process ends, so that the next begins with it"
    if topic := group_status.cut():
        end, committed = group_status.ends[topic], group_status.committed[topic]
        return f"{topic} ends at {end} and {committed} is committed: the broker lost records that rows include"
    return None


def _since(before: tuple[object, float] | None, value: object, now_s: float) -> float:
    return before[1] if before is not None and before[0] == value else now_s


def _watched(worker_status: WorkerStatus | None, group_status: GroupStatus | None) -> Iterator[tuple[str, object]]:
    """What must change, each with the value to watch."""
    yield "the event loop stands still", worker_status and worker_status.at_s
    if worker_status is None:
        return
    if worker_status.stopping:
        yield "it crashed or was told to stop, and the process did not end", True
    elif worker_status.waiting or group_status is None:
        return
    elif worker_status.recovering:
        yield "recovery makes no progress", worker_status.step
    else:
        for topic in sorted(group_status.ends):
            if group_status.waiting(topic) > 0:
                what = "records wait and none is committed" if topic in worker_status.owned else NOBODY
                yield f"{topic}: {what}", group_status.committed.get(topic)
