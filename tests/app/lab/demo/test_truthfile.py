"""What the demo writes is what the web view reads."""

from pathlib import Path

import numpy as np

from app.lab.demo.truthfile import TruthFile
from app.lab.pop.pop import generate
from app.lab.pop.truth import Loads
from app.web.documents import TruthPoint
from app.web.truth import TruthLine, TruthReader
from tests.pops import demo_pop


def loads(seconds: int, links: int) -> Loads:
    """Every second its own bytes: 1 Gb/s more each; natural twice as much, a tenth dropped."""
    carried = np.outer(np.arange(1, seconds + 1), np.ones(links)) * 1e9 / 8
    natural = carried * 2
    return Loads(carried, carried, dropped=carried / 10, natural=natural, natural_sent=natural, blackholed=carried * 0)


def test_each_second_is_written_once_and_read_back(tmp_path: Path) -> None:
    sim_pop, path, taken = generate(demo_pop(), seed=1), tmp_path / "truth.jsonl", list[TruthLine]()
    file, reader = TruthFile(path, sim_pop, began_s=1000.0), TruthReader(path, taken.append)
    links = len(sim_pop.link_ids)
    file.write(loads(2, links), 1)  # the second row is not complete yet
    reader.read()
    file.write(loads(3, links), 3)
    file.write(loads(3, links), 3)
    reader.read()
    assert [line.pop for line in taken] == [sim_pop.pop.name] * 3
    assert {tuple(line.links) for line in taken} == {sim_pop.link_ids}
    points = [line.links[sim_pop.link_ids[-1]] for line in taken]
    assert points == [TruthPoint(1000.0 + n, n * 1e9, n * 1e8, n * 2e9) for n in (1, 2, 3)]
