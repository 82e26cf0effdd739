"""Whatever happens, in whatever order: what must never be on a router is never on one."""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from app.actuation.bmp_witness import BmpWitness
from app.bgp.speaker import InjectedRoute
from app.contract.schemas import Override
from tests.app.actuation.pop import POP, decision, override
from tests.app.actuation.story import LoggedSpeaker, Story

PREFIXES = ["203.0.0.0/24", "203.0.1.0/24", "203.0.2.0/24"]
ROUTERS = ["r1", "r2", "r3"]
NUMBERS = [1, 2, 3, 4]
LOOPBACKS = POP.router_by_loopback


class WatchedSpeaker(LoggedSpeaker):
    """Checks every announcement before it takes it."""

    def __init__(self, router: str, machine: "Actuation") -> None:
        super().__init__(router, machine.story.log)
        self._machine = machine

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        routes = list(routes)
        for route in routes:
            self._machine.check_added(self._router, route, self.held.get(route.prefix))
        await super().announce(routes)

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        prefixes = list(prefixes)
        for prefix in prefixes:
            self._machine.check_removed(self._router, prefix)
        await super().withdraw(prefixes)


class Actuation(RuleBasedStateMachine):
    """Three prefixes, three routers, four paths; BMP comes when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.story = Story(prefixes=PREFIXES)
        self.story.speakers = {router: WatchedSpeaker(router, self) for router in ROUTERS}
        self.story.start(self.story.reconciler.timing)
        self.witness = BmpWitness(POP, self.story.rib)
        self.add_until_s: dict[str, float] = {}
        self.restarted = False

    # what happens

    @initialize()
    def begin(self) -> None:
        self.run(self.story.settle())

    @rule(
        chosen=st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(NUMBERS), min_size=1),
        age_s=st.sampled_from([0, 0, 0, 5, 29, 31, 200]),
        epoch=st.sampled_from([7, 7, 7, 8]),
        rounds=st.sampled_from([0, 1, 20]),
    )
    def decide(self, chosen: dict[str, int], age_s: int, epoch: int, rounds: int) -> None:
        overrides = [override(prefix, number) for prefix, number in chosen.items()]
        self.tell(overrides, [], age_s, epoch)
        for _ in range(rounds):
            self.run(self.story.step())
            self.story.echo()

    @rule(released=st.sets(st.sampled_from(PREFIXES), min_size=1))
    def release(self, released: set[str]) -> None:
        self.tell([], sorted(released), 0, 8)

    def tell(self, overrides: list[Override], released: list[str], age_s: int, epoch: int) -> None:
        self.story.seq += 1
        made = decision(self.now_s, self.story.seq, overrides, released, epoch, age_s=age_s)
        if (made.epoch, made.seq) > self.story.reconciler.overrides.newest and not self.story.reconciler.halts:
            for each in overrides:
                until_s = made.add_until.timestamp()
                self.add_until_s[each.prefix] = max(self.add_until_s.get(each.prefix, 0.0), until_s)
        self.story.reconciler.follow(made)

    @rule(number=st.sampled_from(NUMBERS), prefix=st.sampled_from(PREFIXES))
    def gone(self, number: int, prefix: str) -> None:
        self.story.gone(number, prefix)
        self.step()

    @rule(number=st.sampled_from(NUMBERS))
    def down(self, number: int) -> None:
        self.story.down(number)
        self.step()

    @rule(number=st.sampled_from(NUMBERS))
    def up(self, number: int) -> None:
        self.story.up(number, PREFIXES)

    @rule(router=st.sampled_from(ROUTERS))
    def echo(self, router: str) -> None:
        self.story.echo(router)

    @rule(order=st.permutations(ROUTERS))
    def step(self, order: Sequence[str] = ROUTERS) -> None:
        """After one round nothing points at a dead path, whatever just died."""
        self.run(self.story.step(order))
        for prefix in PREFIXES:
            for router, next_hop in self.story.holding(prefix).items():
                dead = next_hop not in LOOPBACKS and not self.witness.alive(router, prefix, next_hop)
                assert not dead, f"{prefix} on {router} points at {next_hop}, which is gone"

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.run(self.story.wait(seconds))

    @rule()
    def wait_long(self) -> None:
        self.run(self.story.wait(320))

    @rule(router=st.sampled_from(ROUTERS))
    def restart_gobgpd(self, router: str) -> None:
        self.story.lose_speaker(router)
        self.restarted = True

    @rule(number=st.sampled_from(NUMBERS), seconds=st.integers(1, 25), again=st.booleans())
    def read_bmp_again(self, number: int, seconds: int, again: bool) -> None:
        self.story.ready = False
        self.story.down(number)
        self.run(self.story.wait(seconds))
        if again:
            self.story.up(number, PREFIXES)
        self.story.ready = True

    @rule()
    def halt(self) -> None:
        self.story.reconciler.halt("control", True)
        self.run(self.story.step())
        assert not any(speaker.held for speaker in self.story.speakers.values())
        self.story.reconciler.halt("control", False)

    @rule()
    def release_all(self) -> None:
        self.tell([], PREFIXES, 0, 9)
        self.run(self.story.settle())
        self.run(self.story.wait(330))  # what nobody claimed has its hold to run
        assert not any(speaker.held for speaker in self.story.speakers.values())
        assert self.story.reconciler.overrides.entries == {}

    # what must hold

    def check_added(self, router: str, route: InjectedRoute, before: InjectedRoute | None) -> None:
        """Called for every announcement."""
        assert self.story.ready, "announced before BMP was read"
        assert not self.story.reconciler.halts, "announced while halted"
        exit_router = LOOPBACKS.get(route.next_hop)
        if exit_router is None:
            assert self.witness.alive(router, route.prefix, route.next_hop), "announced onto a dead path"
        else:
            shown = self.witness.shown(exit_router, route.prefix)
            assert shown is not None, "sent to an exit that does not show its route"
            assert self.witness.alive(exit_router, route.prefix, shown), "sent to an exit with a dead path"
        if not self.restarted and (before is None or before.next_hop != route.next_hop):
            assert self.now_s <= self.add_until_s[route.prefix], "added after its time"

    def check_removed(self, router: str, prefix: str) -> None:
        """Called for every withdrawal: in no hurry, nobody may still be sent to this router."""
        next_hop = self.story.holding(prefix).get(router)  # None: its gobgpd restarted and nobody has looked yet
        if next_hop is None or self.story.reconciler.halts or not self.leads_out(prefix, router, next_hop):
            return
        for other in ROUTERS:
            shown = self.witness.shown(other, prefix)
            assert shown is None or LOOPBACKS.get(shown) != router, f"{other} is still sent to {router}"

    def leads_out(self, prefix: str, router: str, next_hop: str) -> bool:
        """Along what routers show, at most once through each."""
        for _ in ROUTERS:
            if (onward := LOOPBACKS.get(next_hop)) is None:
                return self.witness.alive(router, prefix, next_hop)
            if (shown := self.witness.shown(onward, prefix)) is None:
                return False
            router, next_hop = onward, shown
        return False

    @property
    def now_s(self) -> float:
        return self.story.clock.now_s()

    def run(self, story: Coroutine[Any, Any, object]) -> None:
        """Speakers in memory answer at once: no event loop is needed, and none can hang."""
        with pytest.raises(StopIteration):
            story.send(None)


Actuation.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestActuation = Actuation.TestCase
