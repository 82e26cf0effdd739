"""Writes the simulator's truth as JSON lines, one per second; the web page draws it beside the estimate."""

from pathlib import Path

import msgspec

from app.lab.pop.pop import SimPop
from app.lab.pop.truth import Loads
from app.web.documents import TruthPoint
from app.web.truth import TruthLine


class TruthFile:
    """A file that grows by one line per second of traffic; `began_s` is when traffic began, in Unix seconds."""

    def __init__(self, path: Path, sim_pop: SimPop, began_s: float) -> None:
        self._path = path
        self._sim_pop = sim_pop
        self._began_s = began_s
        self._written = 0

    def write(self, truth: Loads, seconds: int) -> None:
        """Append the lines not yet written among the first `seconds` rows of `truth`, which are complete."""
        with self._path.open("ab") as file:
            for second in range(self._written, seconds):
                file.write(msgspec.json.encode(self._line(truth, second)) + b"\n")
        self._written = seconds

    def _line(self, truth: Loads, second: int) -> TruthLine:
        rows = ((column[second] * 8).tolist() for column in (truth.carried, truth.dropped, truth.natural))
        loads = zip(*rows, strict=True)
        links = zip(self._sim_pop.link_ids, loads, strict=True)
        end_s = self._began_s + second + 1
        return TruthLine(self._sim_pop.pop.name, {link: TruthPoint(end_s, *load) for link, load in links})
