"""Who writes a PoP's flows: every collector has a clock of its own, and its markers say how far its data are complete.

A collector is the plugin name in pmacct's `writer_id` ("flows" of "flows/4711", whose number is the process of one
purge). Unless the broker sets them, the times of markers are those of the collector's host. So times of two collectors
are never compared: how long one was silent is measured by how far the clocks of the others went on meanwhile. That is
the stream's time, and it also says what the clock of a silent collector shows by now.
"""

from collections.abc import Sequence

import msgspec

OPEN_PURGE_MAX_S = 30.0  # a purge whose process is killed never ends
WRITERS_MAX = 64
OPEN_PURGES_MAX = 16  # of one collector; pmacct has at most 10
SILENT_REFRESHES = 3  # a collector that missed so many is waited for no longer
AWAY_MAX_S = 300.0  # a collector that restarts is back by then
NEW_CLOCK_S = 25.0  # a longer step ahead of one name may be a second collector of that name: only time shows
BEHIND_MAX_S = 60.0  # a clock that is further behind what is complete already is not waited for


class Writer(msgspec.Struct):
    """One collector. `began_s` is when its newest purge began, by its own clock, and `heard_s` by that of the stream.

    `first_mark` and `last_mark` count the purges of all collectors. `may_be_new` is true after a step ahead, until its
    next purge: it may be the collector of that name that was known before. All later data wait for the purge that began
    at `waits_s`: the first that is still open, else the newest.
    """

    name: str
    purge: str
    began_s: float
    heard_s: float
    first_mark: int
    last_mark: int
    may_be_new: bool = False
    open_purges: dict[str, float] = msgspec.field(default_factory=dict)
    waits_s: float = 0.0

    @property
    def offset_s(self) -> float:
        """How far its clock is ahead of the stream's, to within a refresh. Only differences mean something."""
        return self.began_s - self.heard_s

    def is_silent(self, now_s: float, refresh_s: float) -> bool:
        """Whether it missed so many refreshes that its next data are not waited for."""
        return now_s - self.heard_s > SILENT_REFRESHES * refresh_s

    def complete_s(self, now_s: float, refresh_s: float) -> float:
        """The time by its clock before which its data are in the topic; while it is silent, its clock goes on."""
        waits_s = self.waits_s
        if self.is_silent(now_s, refresh_s):
            waits_s = max(waits_s, now_s + self.offset_s - SILENT_REFRESHES * refresh_s)
        return waits_s - refresh_s

    def begin(self, purge: str, at_s: float) -> None:
        """A purge begins; those that should have ended long ago are given up."""
        self.purge, self.began_s = purge, max(self.began_s, at_s)
        opened = self.open_purges
        if len(opened) < OPEN_PURGES_MAX:
            in_order = at_s >= next(reversed(opened.values()), at_s)
            opened[purge] = at_s
            if not in_order:
                opened = self.open_purges = dict(sorted(opened.items(), key=lambda item: item[1]))
        while opened and opened[oldest := next(iter(opened))] <= self.began_s - OPEN_PURGE_MAX_S:
            del opened[oldest]
        self._wait()

    def end(self, purge: str) -> None:
        """A purge ended."""
        if self.open_purges.pop(purge, None) is not None:
            self._wait()

    def _wait(self) -> None:
        self.waits_s = next(iter(self.open_purges.values()), self.began_s)


class Writers(msgspec.Struct):
    """The collectors that were heard lately. `now_s` is the stream's time: it goes on with whichever is fastest."""

    known: list[Writer] = msgspec.field(default_factory=list)
    now_s: float = 0.0
    marks: int = 0

    def begin(self, purge: str, at_s: float, refresh_s: float) -> None:
        """The purge with this `writer_id` began at Kafka time `at_s`. Collectors beyond WRITERS_MAX are passed over."""
        self.marks += 1
        writer = self._known(purge, at_s, refresh_s) or self._new(purge, at_s, refresh_s)
        if writer is None:
            return
        self.now_s = max(self.now_s, writer.heard_s + max(0.0, at_s - writer.began_s))
        writer.begin(purge, at_s)
        writer.heard_s, writer.last_mark = self.now_s, self.marks
        speaking = [each for each in self.known if not each.is_silent(self.now_s, refresh_s)]
        if len(speaking) < len(self.known):
            self.known = [
                each
                for each in self.known
                if not each.is_silent(self.now_s, refresh_s) or self._holds(each, speaking, refresh_s)
            ]

    def end(self, purge: str) -> None:
        """The purge with this `writer_id` ended."""
        name = _name_of(purge)
        for writer in self.known:
            if writer.name == name:
                writer.end(purge)

    def complete_s(self, refresh_s: float, watermark_s: float) -> float | None:
        """The time before which the data of every collector are in the topic; None if none is known.

        The slowest clock counts, so that no clock that is ahead makes the bytes of another late. But one that is more
        than BEHIND_MAX_S behind the watermark is not waited for.
        """
        complete_s = (writer.complete_s(self.now_s, refresh_s) for writer in self.known)
        return min((each_s for each_s in complete_s if each_s >= watermark_s - BEHIND_MAX_S), default=None)

    def newest_s(self, watermark_s: float) -> float | None:
        """The newest time of any collector, leaving out clocks that are far ahead of another that may come back."""
        slow = [writer for writer in self.known if writer.began_s >= watermark_s - BEHIND_MAX_S]
        slowest = min(slow, key=lambda writer: writer.offset_s, default=None)
        if slowest is None:
            return None
        return self.now_s + max(
            writer.offset_s
            for writer in slow
            if writer.offset_s <= slowest.offset_s + BEHIND_MAX_S or slowest.last_mark <= writer.first_mark
        )

    def _holds(self, silent: Writer, speaking: Sequence[Writer], refresh_s: float) -> bool:
        """Whether windows still go by the clock of a silent collector, because all that speak are ahead of it.

        It may be the one that is right, and come back. It is gone after a silence that is longer than the lead of the
        others. If none of them spoke beside it, they say nothing of its clock: all were silent for that long.
        """
        lead_s = min(writer.offset_s for writer in speaking) - silent.offset_s
        beside = any(writer.first_mark < silent.last_mark for writer in speaking)
        replaced = any(writer.name == silent.name and writer.first_mark > silent.last_mark for writer in speaking)
        is_gone = self.now_s - silent.heard_s > max(lead_s, AWAY_MAX_S)
        return lead_s > refresh_s and beside and not replaced and not is_gone

    def _known(self, purge: str, at_s: float, refresh_s: float) -> Writer | None:
        """The collector that this purge belongs to; None if no collector of its name can have begun it now.

        Collectors may share a name, since it is "flows" in most examples. Then their clocks tell them apart.
        """
        name = _name_of(purge)
        namesakes = [writer for writer in self.known if writer.name == name]
        fitting = [writer for writer in namesakes if writer.purge == purge] or [
            writer
            for writer in namesakes
            if writer.began_s - refresh_s <= at_s
            and (writer.may_be_new or at_s <= self.now_s + writer.offset_s + NEW_CLOCK_S)
        ]
        newest = max(fitting, key=lambda writer: writer.began_s, default=None)
        if newest is not None:
            newest.may_be_new = False
        return newest

    def _new(self, purge: str, at_s: float, refresh_s: float) -> Writer | None:
        """A collector that was not known before; None if there are too many that speak."""
        if len(self.known) == WRITERS_MAX:
            oldest = min(self.known, key=lambda writer: writer.last_mark)
            if not oldest.is_silent(self.now_s, refresh_s):
                return None
            self.known.remove(oldest)
        name = _name_of(purge)
        may_be_new = any(writer.name == name for writer in self.known)
        writer = Writer(name, purge, at_s, self.now_s, self.marks, self.marks, may_be_new)
        self.known.append(writer)
        return writer


def _name_of(purge: str) -> str:
    return purge.rpartition("/")[0] or purge
