"""What must hold in every cycle, whatever happens: random demand, flapping sessions, silent and lying feeds."""

from collections.abc import Mapping

import numpy as np
import pytest

from app.config.inventory import Budgets
from app.config.thresholds import Pacing
from app.te.decision.cycle import CycleState
from app.te.routing.forwarding import Igp, fault
from tests.app.te.decision.test_loop import PREFIXES, demo, load
from tests.app.te.loop import Loop, PairKey, Step, exits
from tests.app.te.world import path

WINDOWS = 150
BUDGETS = Budgets(max_overrides=25, max_moved_share=0.5, max_new_per_cycle=10)


class Chaos:
    """Random events on a Loop, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        made, rib = demo(BUDGETS)
        self.loop = Loop(made, rib, self.truth, seed)
        self.loop.pacing = Pacing(min_stay_s=60)
        self.pni, self.small = 0.7, 0.5
        self.down: set[int] = set()

    def truth(self, at_s: int) -> Mapping[PairKey, float]:
        return load(self.pni, self.small)(at_s)

    def next(self) -> Step:
        """One window, with something new in it now and then."""
        if self.rng.random() < 0.15:
            self.pni, self.small = self.rng.uniform(0.3, 1.3), self.rng.uniform(0.2, 1.3)
        if self.rng.random() < 0.10:
            self.flap(int(self.rng.integers(2, 5)))
        self.loop.silent = {link for link in self.loop.pop.links if self.rng.random() < 0.05}
        if self.rng.random() < 0.05:
            self.loop.silent = set(self.loop.pop.links)
        if self.rng.random() < 0.10:
            self.loop.forged = {link: 2.5 for link in self.loop.pop.links if self.rng.random() < 0.15}
        [step] = self.loop.run(1)
        return step

    def flap(self, number: int) -> None:
        """Session down, or up with all its paths. Peers 1 and 5 stay: every router keeps a path of its own."""
        router = "r2" if number == 4 else "r1"
        if number not in self.down:
            self.down.add(number)
            self.loop.rib.peer_down(router, f"10.0.0.{number}")
            return
        self.restore(number)

    def restore(self, number: int) -> None:
        router = "r2" if number == 4 else "r1"
        self.down.discard(number)
        self.loop.rib.peer_up(router, f"10.0.0.{number}", 64600 + number)
        for i in range(PREFIXES):
            prefix = f"{40 + i}.0.0.0/16"
            if number == 2 and i % 3:
                self.loop.rib.update(router, prefix, path(2, 7))
            elif number == 3:
                self.loop.rib.update(router, prefix, path(3, 7, 8, 9))
            elif number == 4 and i % 10 == 0:
                self.loop.rib.update(router, prefix, path(4))


@pytest.mark.parametrize("seed", range(8))
def test_invariants(seed: int) -> None:
    chaos = Chaos(seed)
    before: dict[str, str] = {}
    for _ in range(WINDOWS):
        step = chaos.next()
        check(chaos.loop, before, step)
        before = exits(step.result)
    chaos.pni, chaos.small, chaos.loop.silent, chaos.loop.forged = 0.5, 0.4, set(), {}
    for number in sorted(chaos.down):
        chaos.restore(number)
    end = chaos.loop.run(60)
    assert not end[-1].result.overrides, "calm again: plain BGP again"
    assert end[-1].result.state == CycleState()


def check(loop: Loop, before: Mapping[str, str], step: Step) -> None:
    result, now = step.result, exits(step.result)
    released = {one.prefix for one in result.released}
    assert not released & now.keys(), "given back and wanted at once"
    assert released == before.keys() - now.keys(), "absent without a release, or released without having been there"
    new = {prefix for prefix, link in now.items() if before.get(prefix) != link}
    if not loop.history[-1]:
        assert not new
        assert not released, "the feed is lost: everything is held"
        return
    assert len(new) <= BUDGETS.max_new_per_cycle
    assert len(now) <= BUDGETS.max_overrides
    for override in result.overrides:
        live = [one.exit for one in loop.natural.alternates(override.prefix)]
        assert override.exit in live, "an override without a live source path"
        assert override.inject_on[0] == override.exit.router
        if override.prefix in new:
            assert override.exit.link in loop.history[-1], "moved onto a silent link"
            assert override.exit.link not in result.state.untrusted
            assert fault(loop.natural, Igp(loop.pop), override.prefix, override.exit, override.inject_on) is None
