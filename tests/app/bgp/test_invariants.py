"""Whatever happens, in whatever order: what must never be on a router is never on one."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.bgp.liveness import Witness
from app.bgp.speaker import InjectedRoute
from app.schemas import Override
from tests.app.bgp.pop import POP, decision, override
from tests.app.bgp.story import LoggedSpeaker, Story

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
            self._machine.check(self._router, route, self.held.get(route.prefix))
        await super().announce(routes)


class Actuation(RuleBasedStateMachine):
    """Three prefixes, three routers, four paths; BMP comes when it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.story = Story(prefixes=PREFIXES)
        self.story.speakers = {router: WatchedSpeaker(router, self) for router in ROUTERS}
        self.story.start(self.story.core.timing)
        self.witness = Witness(POP, self.story.rib)
        self.add_until_s: dict[str, float] = {}
        self.restarted = False

    def teardown(self) -> None:
        self.loop.close()

    # what happens

    @initialize()
    def begin(self) -> None:
        self.run(self.story.settle())

    @rule(
        chosen=st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(NUMBERS)),
        released=st.sets(st.sampled_from(PREFIXES)),
        age_s=st.sampled_from([0, 0, 0, 5, 29, 31, 200]),
        epoch=st.sampled_from([7, 7, 7, 8]),
    )
    def decide(self, chosen: dict[str, int], released: set[str], age_s: int, epoch: int) -> None:
        overrides: list[Override] = [override(prefix, number) for prefix, number in chosen.items()]
        self.story.seq += 1
        made = decision(self.now_s, self.story.seq, overrides, sorted(released), epoch, age_s=age_s)
        if (made.epoch, made.seq) > self.story.core.books.newest and not self.story.core.halts:
            for prefix in chosen:
                until_s = made.add_until.timestamp()
                self.add_until_s[prefix] = max(self.add_until_s.get(prefix, 0.0), until_s)
        self.story.core.decide(made)

    @rule(number=st.sampled_from(NUMBERS), prefix=st.sampled_from(PREFIXES))
    def gone(self, number: int, prefix: str) -> None:
        self.story.gone(number, prefix)

    @rule(number=st.sampled_from(NUMBERS))
    def down(self, number: int) -> None:
        self.story.down(number)

    @rule(number=st.sampled_from(NUMBERS))
    def up(self, number: int) -> None:
        self.story.up(number, PREFIXES)

    @rule(router=st.sampled_from(ROUTERS))
    def echo(self, router: str) -> None:
        self.story.echo(router)

    @rule()
    def step(self) -> None:
        self.run(self.story.step())

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

    @rule(ready=st.booleans())
    def read_bmp_again(self, ready: bool) -> None:
        self.story.ready = ready

    @rule(on=st.booleans())
    def halt(self, on: bool) -> None:
        self.story.core.halt("control", on)

    @precondition(lambda self: not self.story.core.halts and self.story.ready)
    @rule()
    def release_all(self) -> None:
        self.decide({}, set(PREFIXES), 0, 9)
        self.run(self.story.settle())
        self.run(self.story.wait(330))  # what nobody claimed has its hold to run
        assert not any(speaker.held for speaker in self.story.speakers.values())
        assert self.story.core.books.entries == {}

    # what must hold

    def check(self, router: str, route: InjectedRoute, before: InjectedRoute | None) -> None:
        """Called for every announcement."""
        assert self.story.ready, "announced before BMP was read"
        assert not self.story.core.halts, "announced while halted"
        exit_router = LOOPBACKS.get(route.next_hop)
        if exit_router is None:
            assert self.witness.alive(router, route.prefix, route.next_hop), "announced onto a dead path"
        else:
            shown = self.witness.shown(exit_router, route.prefix)
            assert shown is not None, "sent to an exit that does not show its route"
            assert self.witness.alive(exit_router, route.prefix, shown.next_hop), "sent to an exit with a dead path"
        if not self.restarted and (before is None or before.next_hop != route.next_hop):
            assert self.now_s <= self.add_until_s[route.prefix], "added after its time"

    @invariant()
    def a_router_is_sent_only_to_one_that_holds_a_route(self) -> None:
        """While nothing failed: the exit is there before the others and until after them."""
        if self.restarted or self.story.core.halts:
            return
        for prefix in PREFIXES:
            holding = self.story.holding(prefix)
            for router, next_hop in holding.items():
                onward = LOOPBACKS.get(next_hop)
                if onward is not None and self.leads_out(prefix, holding):
                    assert onward in holding, f"{router} is sent to {onward}, which has no route: {holding}"

    @invariant()
    def after_a_round_nothing_points_at_a_dead_path(self) -> None:
        if not self.story.ready:
            return
        self.run(self.story.step())
        for prefix in PREFIXES:
            for router, next_hop in self.story.holding(prefix).items():
                dead = next_hop not in LOOPBACKS and not self.witness.alive(router, prefix, next_hop)
                assert not dead, f"{prefix} on {router} points at {next_hop}, which is gone"

    def leads_out(self, prefix: str, holding: dict[str, str]) -> bool:
        """Every external route held is alive: nothing is being taken off in haste."""
        return all(
            next_hop in LOOPBACKS or self.witness.alive(router, prefix, next_hop)
            for router, next_hop in holding.items()
        )

    @property
    def now_s(self) -> float:
        return self.story.clock.now_s()

    def run(self, story: Coroutine[Any, Any, object]) -> None:
        self.loop.run_until_complete(story)


Actuation.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestActuation = Actuation.TestCase
