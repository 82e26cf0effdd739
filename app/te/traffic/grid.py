"""Where windows begin and end, also after their length was changed: windows never overlap, and leave no gap.

Another length holds from a border that both lengths share, a multiple of both. Until then windows go on as before, so
a window that already holds records keeps its length, and no record has to be divided between two windows.
"""

from collections.abc import Iterable
from itertools import pairwise
from math import gcd, lcm
from typing import NamedTuple

import msgspec

from app.te.traffic.demand import Numbers


class Turn(NamedTuple):
    """From `from_s` (unix seconds) on windows are `length_s` seconds long."""

    from_s: int
    length_s: int


class Grid(msgspec.Struct, frozen=True):
    """The windows of all times: `length_s` seconds long at first, and as each of the `turns` says from there on.

    Every window begins at a multiple of its length. Turns are in order of time.
    """

    length_s: int
    turns: tuple[Turn, ...] = ()

    @property
    def final_s(self) -> int:
        """The length in seconds that holds for good, unless the grid is changed once more."""
        return self.turns[-1].length_s if self.turns else self.length_s

    @property
    def step_s(self) -> int:
        """Seconds of which every border is a multiple."""
        return gcd(self.length_s, *(turn.length_s for turn in self.turns))

    def length_at(self, at_s: float) -> int:
        """The length in seconds of the window that contains the time `at_s`."""
        return next((turn.length_s for turn in reversed(self.turns) if turn.from_s <= at_s), self.length_s)

    def start_at(self, at_s: float) -> int:
        """The start of the window that contains the time `at_s`, unix seconds."""
        length_s = self.length_at(at_s)
        return int(at_s // length_s) * length_s

    def starts_of(self, at_s: Numbers) -> Numbers:
        """The starts of the windows that contain these times, all in unix seconds."""
        starts_s = at_s - at_s % self.length_s
        for turn in self.turns:
            later = at_s >= turn.from_s
            starts_s[later] = at_s[later] - at_s[later] % turn.length_s
        return starts_s

    def between(self, from_s: int, to_s: int) -> list[range]:
        """The starts of the windows from the border `from_s` to the border `to_s`, a range for each length."""
        borders = [turn.from_s for turn in self.turns if from_s < turn.from_s < to_s]
        pieces = zip([from_s, *borders], [*borders, to_s], strict=True)
        return [range(begin_s, end_s, self.length_at(begin_s)) for begin_s, end_s in pieces]

    def changed(self, length_s: int, settled_s: int) -> "Grid":
        """This grid with another length from the first border of both lengths on that is not before `settled_s`.

        `settled_s` is a border; windows that begin before it stay as they are. A turn after it, which no window has
        reached, is forgotten.
        """
        turns = tuple(turn for turn in self.turns if turn.from_s < settled_s)
        before = Grid(self.length_s, turns)
        if before.final_s == length_s:
            return before
        shared_s = lcm(before.final_s, length_s)
        return Grid(self.length_s, (*turns, Turn(-(-settled_s // shared_s) * shared_s, length_s)))

    def since(self, at_s: int) -> "Grid":
        """This grid without the turns whose earlier windows all ended before `at_s`."""
        past = [turn for turn in self.turns if turn.from_s < at_s]
        return Grid(past[-1].length_s, self.turns[len(past) :]) if past else self


def usual_length(borders_s: Iterable[int]) -> int:
    """The length of the windows with these borders, some of which may be missing; 0 if there are not two of them."""
    return min((after_s - before_s for before_s, after_s in pairwise(sorted(set(borders_s)))), default=0)
