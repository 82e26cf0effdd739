"""Tumbling windows by record time, closed by a watermark from the stream itself. Nothing here reads a clock.

pmacct sends `purge_init` and `purge_close` every refresh, with or without traffic, and runs each purge in its own
process. Data that arrived before (oldest open purge_init - refresh) is complete in the topic, so that moment is the
watermark.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from app.config.thresholds import WindowSettings
from app.te.traffic.demand import Demand, Numbers

PurgeKind = Literal["purge_init", "purge_close"]
OPEN_PURGE_MAX_S = 30.0  # a writer that is killed never closes its purge
CATCH_UP_WINDOWS = 60  # after a longer silence, only windows with data are closed


class Progress(msgspec.Struct):
    """How far one PoP's flows are processed: the row that is written last. Bytes are scaled by the sampling rate."""

    applied: int = -1
    closed_up_to_s: int | None = None
    watermark_s: float = 0.0
    last_purge_s: float = 0.0
    open_purges: dict[str, float] = msgspec.field(default_factory=dict)
    records: int = 0
    counted_bytes: int = 0
    late_bytes: int = 0
    unattributed_bytes: dict[str, int] = msgspec.field(default_factory=dict)
    dead_letters: int = 0

    def mark(self, kind: PurgeKind, writer: str, at_s: float, refresh_s: float) -> None:
        """Note that a purge of `writer` begins or ends at Kafka time `at_s`, and advance the watermark."""
        if kind == "purge_init":
            self.last_purge_s = max(self.last_purge_s, at_s)
            self.open_purges[writer] = at_s
        else:
            self.open_purges.pop(writer, None)
        oldest_s = self.last_purge_s - OPEN_PURGE_MAX_S
        self.open_purges = {writer: at_s for writer, at_s in self.open_purges.items() if at_s > oldest_s}
        complete_s = min(self.open_purges.values(), default=self.last_purge_s) - refresh_s
        self.watermark_s = max(self.watermark_s, complete_s)

    @property
    def open_from_s(self) -> int:
        """All windows that start before this time (unix seconds) are closed, and never open again."""
        return self.closed_up_to_s or 0

    def closable(self, windows: WindowSettings, starts: set[int]) -> Iterator[int]:
        """The starts of the windows to close now, in order. Advances `closed_up_to_s`.

        `starts` are the starts of the windows that hold data. Windows without data are closed too, so that silence is
        reported, but after a gap of more than CATCH_UP_WINDOWS only windows with data are.
        """
        length_s = windows.length_s
        end_s = window_of(self.watermark_s - windows.grace_s, length_s)
        if self.closed_up_to_s is None:
            self.closed_up_to_s = min({end_s} | starts)
        due = range(self.closed_up_to_s, end_s, length_s)
        for start_s in due if len(due) <= CATCH_UP_WINDOWS else sorted(filter(due.__contains__, starts)):
            self.closed_up_to_s = start_s + length_s
            yield start_s
        self.closed_up_to_s = max(self.closed_up_to_s, end_s)

    def leave_out(self, reason: str, size_bytes: int) -> None:
        """Count bytes that belong to no link, by reason code."""
        self.unattributed_bytes[reason] = self.unattributed_bytes.get(reason, 0) + size_bytes


class ClosedWindow(NamedTuple):
    """One closed window of a PoP. `closed_s` is the Kafka time at which it was complete."""

    pop: str
    start_s: int
    length_s: int
    closed_s: float

    @property
    def end_s(self) -> int:
        """The end of the window, at which the next one begins."""
        return self.start_s + self.length_s


class Part(NamedTuple):
    """Flow records of one link and window, as columns, with their totals."""

    pairs: Numbers  # NO_ROUTE for a record without a route
    sizes_bytes: Numbers
    samples: Numbers
    size_bytes: int  # total of the records with a route, and so is `samples_sum`
    samples_sum: int
    unroutable_bytes: int


class Sums(msgspec.Struct):
    """The sums of one link in one window. `size_bytes` does not include `unroutable_bytes`."""

    applied: int = -1
    size_bytes: int = 0
    samples: int = 0
    unroutable_bytes: int = 0
    demand: Demand = msgspec.field(default_factory=Demand, name="demands")

    def add(self, part: Part) -> None:
        """Add records, whose pairs must be numbered by the PairIndex of `demand`."""
        self.demand.add(part.pairs, part.sizes_bytes, part.samples)
        self.size_bytes += part.size_bytes
        self.samples += part.samples_sum
        self.unroutable_bytes += part.unroutable_bytes


def window_of(at_s: float, length_s: int) -> int:
    """The start of the window that contains the time `at_s`."""
    return int(at_s // length_s) * length_s
