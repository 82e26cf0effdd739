"""Is a worker getting on? Pure: what is seen of it goes in, a reason to end it comes out.

Legal silence is told from a standstill: without new records nothing has to be committed, and while no broker answers
nobody gets on, so patience begins anew when it is back. A standby owns no input, but somebody of its group must: after
an input was deleted and made anew Faust reads it no more, and nobody does (seen).
"""

from collections.abc import Iterator

import msgspec

NOBODY = "records wait, and nobody in the group commits any"  # given twice the patience: the owner ends itself first


class Inside(msgspec.Struct, frozen=True):
    """What the event loop says of its own application."""

    at_s: float  # monotonic
    recovering: bool  # joining, rebalancing or rebuilding tables
    stopping: bool  # asked to stop, or crashed
    step: tuple[object, ...]  # changes as long as a recovery gets on
    owned: frozenset[str]  # the inputs that are assigned to this worker


class Outside(msgspec.Struct, frozen=True):
    """What the broker says of the inputs: offsets by topic."""

    begins: dict[str, int]
    ends: dict[str, int]
    committed: dict[str, int]

    def next(self, topic: str) -> int:
        """The first offset that nobody committed, of what retention left."""
        return max(self.committed.get(topic, 0), self.begins[topic])

    def made_anew(self) -> str | None:
        """An input that ends before what was committed of it; its records would be taken for repeats."""
        return next((topic for topic, end in self.ends.items() if self.committed.get(topic, 0) > end), None)

    def waiting(self, topic: str) -> int:
        """Records from there to the end."""
        return self.ends[topic] - self.next(topic)


class Judge:
    """Remembers since when each thing that must change has not."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[str, tuple[object, float]] = {}

    def look(self, now_s: float, inside: Inside | None, outside: Outside | None) -> str | None:
        """The reason to end the process, if there is one; None for `outside` where no broker answers."""
        if outside is not None and (topic := outside.made_anew()):
            end, committed = outside.ends[topic], outside.committed[topic]
            return f"{topic} ends at {end} and {committed} is committed: it was made anew, so its state must be, too"
        marks = dict(_marks(inside, outside))
        before = self._since
        self._since = {about: (value, _since(before.get(about), value, now_s)) for about, value in marks.items()}
        for about, (_, since_s) in self._since.items():
            if now_s - since_s > self._patience_s * (2 if about.endswith(NOBODY) else 1):
                return f"{about}, for {now_s - since_s:.0f} s"
        return None


def _since(before: tuple[object, float] | None, value: object, now_s: float) -> float:
    return before[1] if before is not None and before[0] == value else now_s


def _marks(inside: Inside | None, outside: Outside | None) -> Iterator[tuple[str, object]]:
    """What must change, each with the value to watch."""
    yield "the event loop stands still", inside and inside.at_s
    if inside is None:
        return
    if inside.stopping:
        yield "it crashed or was told to stop, and the process did not end", True
    elif outside is None:
        return
    elif inside.recovering:
        yield "recovery makes no progress", inside.step
    else:
        for topic in sorted(outside.ends):
            if outside.waiting(topic) > 0:
                what = "records wait and none is committed" if topic in inside.owned else NOBODY
                yield f"{topic}: {what}", outside.committed.get(topic)
