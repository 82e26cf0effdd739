"""How far the allocator is from the optimum of a linear program that may move fractions of prefixes."""

from statistics import median

import numpy as np
import pytest

from app.config.inventory import Budgets
from app.te.decision.allocator import Task, allocate, excess_bps
from app.te.decision.guards import Budget
from app.te.decision.ledger import Candidate, Ledger
from tests.app.te.decision.test_allocator import allow, to
from tests.app.te.oracle import best
from tests.pops import G

GENEROUS = Budgets(max_overrides=10**6, max_moved_share=1.0, max_new_per_cycle=10**6)


class Scene:
    """A third of the links at 100 to 140 % of 100 Gb/s, the others in `calm`; each hot link has its own usual exits."""

    def __init__(self, seed: int, links: int, prefixes: int, alternates: int, calm: tuple[float, float]) -> None:
        self.rng = np.random.default_rng(seed)
        self.names = [f"l{i:02}" for i in range(links)]
        self.hot = self.names[: links // 3]
        levels = {name: (1.0, 1.4) if name in self.hot else calm for name in self.names}
        self.load = {name: 100 * G * self.rng.uniform(*level) for name, level in levels.items()}
        self.goal = dict.fromkeys(self.hot, 90 * G)
        self.limit = {name: 80 * G for name in self.names if name not in self.hot}
        self.usual = self.rng.dirichlet(np.full(links, 0.3), size=len(self.hot)) + 1e-6
        homes = self.rng.integers(len(self.hot), size=prefixes)
        weights = self.rng.lognormal(0, 1.6, size=prefixes)
        totals = np.bincount(homes, weights, minlength=len(self.hot))
        self.candidates = [
            self.candidate(i, int(home), weight / totals[home], alternates)
            for i, (home, weight) in enumerate(zip(homes, weights, strict=True))
        ]

    def candidate(self, number: int, home: int, share: float, alternates: int) -> Candidate:
        chance = self.usual[home] * (np.arange(len(self.names)) != home)
        chosen = self.rng.choice(len(self.names), size=alternates, replace=False, p=chance / chance.sum())
        source = self.names[home]
        targets = tuple(to(self.names[int(i)], int(i)) for i in chosen)
        return Candidate(f"{number:05}", {source: self.load[source] * share}, 100, targets)

    def ours(self) -> tuple[float, float, Ledger]:
        """(residual, moved) bits per second of our allocator, and its books."""
        cost = {name: float(i % 3) for i, name in enumerate(self.names)}
        book = Ledger(self.load, self.limit, cost, {}, Budget(GENEROUS, sum(self.load.values()), 0, 0.0))
        tasks = [Task(one, self.goal[one], [c for c in self.candidates if one in c.off_bps]) for one in self.hot]
        done = allocate(tasks, book, allow)
        moved_bps = sum(move.candidate.bps for task in done for move in task.moves)
        return sum(excess_bps(task, book) for task in done), moved_bps, book


@pytest.mark.parametrize(
    ("links", "prefixes", "alternates", "calm", "seeds"),
    [
        pytest.param(6, 1000, 3, (0.2, 0.7), 6, id="a PoP like the demo's"),
        pytest.param(20, 2000, 3, (0.2, 0.7), 3, id="a large PoP"),
        pytest.param(20, 2000, 2, (0.5, 0.79), 4, id="room is scarce"),
        pytest.param(40, 5000, 3, (0.3, 0.7), 1, id="a very large PoP"),
    ],
)
def test_close_to_the_linear_program(
    links: int, prefixes: int, alternates: int, calm: tuple[float, float], seeds: int
) -> None:
    excess = []
    for seed in range(seeds):
        scene = Scene(seed, links, prefixes, alternates, calm)
        residual_bps, moved_bps, book = scene.ours()
        optimum = best(scene.candidates, scene.load, scene.goal, scene.limit)
        one_prefix_bps = max(candidate.bps for candidate in scene.candidates)
        assert residual_bps <= optimum.residual_bps + one_prefix_bps, f"seed {seed}"
        assert all(book.load_bps[link] <= bps + 1 for link, bps in scene.limit.items()), f"seed {seed}"
        excess.append(moved_bps / optimum.moved_bps - 1)
    assert median(excess) <= 0.05
