"""The actuator's judgement for one PoP: what each router's speaker should hold right now, and why. No I/O, no awaits.

Level-triggered: decisions, BMP changes and what the speakers hold come in by calls, and the targets follow at once.
The driver asks for the `work` of one router, carries it out and reports back; nothing is sent from here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf

from app import metrics
from app.actuation.bmp_witness import BmpWitness
from app.actuation.doubt import Doubt
from app.actuation.due import DueQueue
from app.actuation.gate import Gate
from app.actuation.journal import FOLLOWED, NOBODYS, REPAIRED, Action, Journal, Number, RouteChange
from app.actuation.overrides import Entry, Overrides
from app.actuation.render import copied
from app.actuation.safe_order import PrefixSight, same, settled, to_hold, to_leave
from app.actuation.session_witness import Hops, SessionWitness
from app.actuation.speaker_state import SpeakerState, Work
from app.actuation.terms import Terms
from app.actuation.timing import DEFAULT_TIMING, Timing
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.config.inventory import Pop
from app.contract.schemas import Decision
from app.te.decision.plan import ROUTER_DOUBTFUL
from app.te.routing.path import Path

log = logging.getLogger(__name__)
NOT_HEARD = "router-not-heard"
CONFIRMED_PER_S = 100  # how many overrides at least a PoP takes, routers and BMP together
Confirmed = dict[str, list[RouteChange]]  # by router


class Reconciler:
    """The reconciler of one PoP. Until `ready`, only what a router took back is withdrawn; a halt withdraws all.

    `on_work(router)` is called when the speaker of a router has to change.
    """

    def __init__(
        self,
        witness: BmpWitness,
        clock: Clock,
        journal: Journal,
        ready: Callable[[], bool],
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self.timing = timing
        self.overrides = Overrides(witness.pop, clock, timing.lease_s)
        self.speakers = {router: SpeakerState() for router in witness.pop.routers}
        self.sessions = SessionWitness()
        self.halts: set[str] = set()
        self.on_work: Callable[[str], None] = lambda router: None
        self._witness = witness
        self._loopbacks = witness.pop.router_by_loopback
        self._clock = clock
        self._journal = journal
        self.ready = ready
        self._stale = True
        self._due = DueQueue()
        self._taken_back: set[str] = set()  # prefixes whose path a router took back while BMP was not read
        self._waiting: Decision | None = None  # the newest that came too early
        self._doubt = Doubt(witness, clock, timing.doubt_lease_s, ready)
        self._gate = Gate(witness, self.sessions, self.speakers, self._doubt, clock, journal)
        self._terms = Terms(self.overrides, self._doubt, clock, timing, self._loopbacks)

    @property
    def halted_by(self) -> str:
        """Why all routes are withdrawn, while any kill switch is on."""
        return f"halted by {', '.join(sorted(self.halts))}"

    @property
    def doubtful(self) -> frozenset[str]:
        """The routers on which nothing new is announced, because BMP is silent."""
        return self._doubt.routers

    # what comes in

    def follow(self, decision: Decision) -> bool:
        """Follow a decision, at once or as soon as it can be judged; return whether it is newer and not halted."""
        pop, newest, number = decision.pop, self.overrides.newest, (decision.epoch, decision.seq)
        if number <= newest:
            if decision.epoch < newest[0]:
                text = "ignored a decision of epoch %d after one of %d: there are two writers, or a clock was wrong"
                log.warning(text, decision.epoch, newest[0], extra={"pop": pop})
            metrics.DECISIONS_IGNORED.labels(pop, "older").inc()
            return False
        if self.halts:
            self.overrides.newest = number
            metrics.DECISIONS_IGNORED.labels(pop, "halted").inc()
            return False
        if not (self._fresh() and self._gate.has_begun()):
            if self._waiting is None or number > (self._waiting.epoch, self._waiting.seq):
                self._waiting = decision
            return True
        self._doubt.look()
        self._plan(self.overrides.apply(decision, self._gate))
        return True

    def rib_changed(self, prefixes: Iterable[str]) -> None:
        """Reconsider these prefixes, of which BMP reported a change; cheap if none of them has an override."""
        if self.overrides.entries and self._fresh():
            self._plan([prefix for prefix in prefixes if prefix in self.overrides.entries])

    def sent_by(self, router: str, prefixes: Iterable[str], hops: Mapping[str, Hops]) -> None:
        """Take over which external paths a router sends for these prefixes; those left out are unknown."""
        news, entries = self.sessions.take(router, prefixes, hops), self.overrides.entries
        for prefix in news - entries.keys():
            if hops.get(prefix):  # it is back
                self.sessions.forget(router, prefix)
        self._plan(news & entries.keys())

    def halt(self, source: str, on: bool) -> None:
        """Set the kill switch `source` on or off. While any is on, all our routes are withdrawn and none is added."""
        was_halted = bool(self.halts)
        if on:
            self.halts.add(source)
        else:
            self.halts.discard(source)
        if self.halts and not was_halted:
            self._waiting = None
            for entry in self.overrides.entries.values():
                self.overrides.leave(entry, f"halted by {source}")
            self._plan(list(self.overrides.entries))

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory that has the same routers; each override is judged by it when it is renewed."""
        self._witness.pop = pop
        self.overrides.reconfigure(pop)

    def forget_waiting(self) -> None:
        """Drop the decision that waits: the mode does not allow to follow it any more."""
        self._waiting = None

    def tick(self) -> None:
        """Act on time. Call it at least every `tick_s`."""
        self._follow_waiting()
        now_s = self._clock.monotonic_s()
        everywhere = self._doubt.look() | self._look_for_sessions(now_s)
        self._plan(list(self.overrides.entries) if everywhere else self._due.take(now_s))

    # what the speakers do

    def work(self, router: str) -> Work:
        """Return the changes to make at the speaker of one router now."""
        work = self.speakers[router].work
        if self._fresh():
            return work
        return Work([prefix for prefix in work.withdraw if prefix in self._taken_back], [])

    def leaves_at(self, router: str, prefix: str) -> bool:
        """Whether `exits_at` has this prefix."""
        route = self.speakers[router].held.get(prefix)
        return self.sessions.knows(router, prefix) or (route is not None and route.next_hop not in self._loopbacks)

    def exits_at(self, router: str) -> set[str]:
        """The prefixes that leave the PoP at this router by what its speaker holds, or did until it lost their path."""
        prefixes = self.speakers[router].held.keys() | self.sessions.known(router)
        return {prefix for prefix in prefixes if self.leaves_at(router, prefix)}

    def owns(self, router: str, is_mine: bool, holder: str | None) -> None:
        """Note whether the speaker of `router` is ours to write to, and who else's it is."""
        speaker = self.speakers[router]
        speaker.owned, speaker.holder = is_mine, holder

    def listed(self, router: str, routes: Mapping[str, InjectedRoute]) -> None:
        """Take over what the speaker of `router` holds: adopt routes that nobody decided, repair what is missing."""
        differences = self.speakers[router].relist(routes)
        changes: dict[Action, list[RouteChange]] = {}
        for action, route, reason in differences:
            changes.setdefault(action, []).append(RouteChange(route, reason, self._number(route.prefix)))
        for action, of_action in changes.items():
            self._journal.routes(action, router, of_action)
        for prefix in routes.keys() - self.overrides.entries.keys():
            self.overrides.adopt(prefix, routes[prefix])
            self._due.put(prefix, self._clock.monotonic_s())
        self._plan({difference.route.prefix for difference in differences})

    def announced(self, router: str, routes: Iterable[InjectedRoute]) -> None:
        """Note that the speaker of `router` took these routes."""
        routes, speaker, changes = list(routes), self.speakers[router], []
        for route in routes:
            before = speaker.held.get(route.prefix)
            speaker.take(route)
            entry = self.overrides.entries.get(route.prefix)
            if entry is not None:
                entry.announced = True
            if not same(before, route):
                changes.append(self._announcement(router, route, before, entry))
        self._plan([route.prefix for route in routes])
        self._journal.routes("announced", router, changes)
        self._journal.renewed(router, len(routes) - len(changes))

    def _announcement(
        self, router: str, route: InjectedRoute, before: InjectedRoute | None, entry: Entry | None
    ) -> RouteChange:
        if entry is None or entry.state != "adding":
            is_copy = before is not None and copied(before) != copied(route)
            return RouteChange(route, FOLLOWED if is_copy else REPAIRED, self._number(route.prefix))
        if entry.exit is not None and entry.exit.router == router:
            self._journal.observe_delay(metrics.ANNOUNCE_SECONDS, entry.decided_s)
        return RouteChange(route, entry.reason, entry.number)

    def withdrawn(self, router: str, prefixes: Iterable[str]) -> None:
        """Note that the speaker of `router` withdrew these prefixes."""
        prefixes, changes = list(prefixes), []
        for prefix in prefixes:
            if (route := self.speakers[router].drop(prefix)) is not None:
                changes.append(RouteChange(route, self._why(prefix), self._number(prefix)))
            if route is None or not self.sessions.has_lost(router, prefix, route.next_hop):
                self.sessions.forget(router, prefix)
        self._plan(prefixes)
        self._journal.routes("withdrawn", router, changes)

    def failed(self, router: str, unanswered: Iterable[InjectedRoute] = ()) -> None:
        """Note that the speaker of `router` did not answer: what it holds is unknown, maybe `unanswered`, too."""
        self.speakers[router].doubt(unanswered)

    # how targets follow

    def _follow_waiting(self) -> None:
        """Apply the decision that waited, as soon as it can be judged."""
        if self._waiting is not None and not self.halts and not self._stale and self._gate.has_begun():
            waiting, self._waiting = self._waiting, None
            try:
                changed = self.overrides.apply(waiting, self._gate)
            except Exception:  # it is the same after each start: to end here would be for ever
                log.exception("the decision %d.%d cannot be followed", waiting.epoch, waiting.seq)
                return
            self._plan(changed)

    def _fresh(self) -> bool:
        """Whether targets are valid: BMP was read to its end, or everything must go. After a gap, recreate them."""
        if not self.halts and not self.ready():
            self._stale = True
        elif self._stale:
            self._stale = False
            self._taken_back.clear()
            self._doubt.look()
            for prefix in [each for each, entry in self.overrides.entries.items() if entry.state == "unclaimed"]:
                for route in self._gate.held(prefix).values():  # maybe found before the broker had said its time
                    self.overrides.adopt(prefix, route)
            self.overrides.wait_again()
            self._plan(list(self.overrides.entries))
            self._follow_waiting()
        return not self._stale

    def _plan(self, prefixes: Iterable[str]) -> None:
        """Bring the targets of these prefixes up to date, and call `on_work` for each speaker that differs."""
        is_fresh = self._fresh()
        confirmed: Confirmed = {}
        for prefix in prefixes:
            if not is_fresh:
                if not self._gate.is_taken_back(prefix):
                    continue
                self._taken_back.add(prefix)
            wanted = self._wanted(prefix, confirmed) if is_fresh else {}
            for router, speaker in self.speakers.items():
                if speaker.aim(prefix, wanted.get(router)):
                    self.on_work(router)
        for router, changes in confirmed.items():
            self._journal.routes("confirmed", router, changes)

    def _wanted(self, prefix: str, confirmed: Confirmed) -> Mapping[str, InjectedRoute]:
        """Return the routes that the speakers should hold for this prefix, after updating its entry."""
        held, entry = self._gate.held(prefix), self.overrides.entries.get(prefix)
        if entry is None or self.halts:
            if not held:
                self.overrides.entries.pop(prefix, None)
            return {}
        path = self._gate.live_path(entry.override) if entry.override is not None else None
        alive = partial(self._alive, entry, path)
        sight = PrefixSight(held, self._gate.shown(entry, held), self._loopbacks, alive)
        self._move_on(entry, path, sight, confirmed)
        match entry.state:
            case "adding" | "standing":
                assert entry.exit is not None, "a decision set the exit"
                wanted = to_hold(sight, self._terms.leased(entry, held), entry.exit.router, self._terms.is_due)
            case "unclaimed":
                wanted = sight.safe()
            case "leaving" | "lost":  # routes that no longer lead out go at once, the others in order
                waited_s = self._clock.monotonic_s() - entry.since_s
                wanted = to_leave(sight, self._gate.is_blind(sight) or waited_s > self.timing.confirm_s)
        if held or entry.wanted:
            self._due.put(prefix, self._terms.next_look_s(entry, held, self._confirmed_by_s(entry)))
        else:
            self._forget(entry)
        return wanted

    def _alive(self, entry: Entry, path: Path | None, router: str, next_hop: str) -> bool:
        """Whether a path to `next_hop` is alive: the one that the entry copies by its own session, others by any."""
        egress = entry.exit
        if egress is not None and (egress.router, egress.next_hop) == (router, next_hop):
            return path is not None
        return self._gate.alive(entry.prefix, router, next_hop)

    def _move_on(self, entry: Entry, path: Path | None, sight: PrefixSight, confirmed: Confirmed) -> None:
        """Move an entry to its next state; `path` is the live path that it copies."""
        now_s = self._clock.monotonic_s()
        if entry.going:
            return
        if self._terms.unwinds_at_s(entry, sight.actual) <= now_s:
            is_doubted = self._terms.is_doubted(entry, sight.actual)
            self.overrides.leave(entry, NOT_HEARD if is_doubted else "lease-ended")
            return
        if not entry.wanted:
            return
        self._note_confirmed(entry, sight, confirmed)
        if path is None:
            self.overrides.lose(entry)
            return
        self._refresh(entry, path)
        is_settled, was_settled, entry.is_settled = settled(sight, entry.routes), entry.is_settled, False
        if was_settled and not is_settled:
            entry.since_s = now_s
        if is_settled:
            if entry.state == "adding":
                self._journal.observe_delay(metrics.ROUTE_SECONDS, entry.decided_s)
            entry.state, entry.is_settled = "standing", True
        elif entry.state == "adding" and self._gate.must_not_begin(entry, sight):
            self.overrides.leave(entry, ROUTER_DOUBTFUL)
        elif entry.state == "adding" and now_s > entry.add_until_s and not sight.actual.keys() >= entry.routes.keys():
            self.overrides.leave(entry, "add-window-ended")
        elif now_s > self._confirmed_by_s(entry):
            self._bar(entry, sight)
            self.overrides.leave(entry, "not-confirmed")

    def _refresh(self, entry: Entry, path: Path) -> None:
        """Follow the attributes of the live path, but not more often than every `refresh_s`."""
        before = entry.path
        entry.is_behind = before is None or (before is not path and copied(before) != copied(path))
        is_due = before is None or self._clock.monotonic_s() - entry.copied_s >= self.timing.refresh_s
        if entry.is_behind and is_due:
            self.overrides.copy(entry, path)

    def _confirmed_by_s(self, entry: Entry) -> float:
        """When a wanted entry should be settled: the time while one of its speakers or sessions is down is no delay.

        When they come back, what they lost is announced again.
        """
        up_s = max((self.speakers[router].up_since_s for router in entry.routes), default=0.0)
        work_s = len(self.overrides.entries) / CONFIRMED_PER_S
        return max(entry.since_s, up_s) + self.timing.confirm_s + work_s

    def _number(self, prefix: str) -> Number:
        """The number of the decision that wants an override, if one does."""
        entry = self.overrides.entries.get(prefix)
        return entry.number if entry is not None else NOBODYS

    # what may be relied on

    def _look_for_sessions(self, now_s: float) -> bool:
        """Look which speakers are up, ours, and in session with their router; whether that changed."""
        changed = False
        for router, speaker in self.speakers.items():
            is_up = speaker.reachable and speaker.owned and self._witness.injector_up(router)
            if is_up != (speaker.up_since_s < inf):
                speaker.up_since_s, changed = (now_s if is_up else inf), True
        return changed

    def _note_confirmed(self, entry: Entry, sight: PrefixSight, confirmed: Confirmed) -> None:
        """Add the routes that their routers show for the first time."""
        for router, route in sight.actual.items():
            known = self.speakers[router].confirmed
            before = known.get(entry.prefix)
            is_news = before is None or not same(before, route)
            if is_news and sight.shows(router, route) and router not in self._doubt.routers:
                known[entry.prefix] = route
                confirmed.setdefault(router, []).append(RouteChange(route, entry.reason, entry.number))

    def _bar(self, entry: Entry, sight: PrefixSight) -> None:
        """Allow no new moves for a while on the routers that do not show this one."""
        for router, route in entry.routes.items():
            if not sight.shows(router, route):
                self.speakers[router].barred_until_s = self._clock.monotonic_s() + self.timing.bar_s

    def _forget(self, entry: Entry) -> None:
        """Drop an entry of which no route is left; a move that was decided but never announced counts as refused."""
        del self.overrides.entries[entry.prefix]
        if entry.exit is not None and not entry.announced:
            self._journal.refused(entry.prefix, entry.exit, entry.number, entry.reason)

    def _why(self, prefix: str) -> str:
        """Return the reason for a withdrawal that was just made."""
        entry = self.overrides.entries.get(prefix)
        if self.halts:
            return self.halted_by
        if entry is None or entry.going:
            return entry.reason if entry else "nobody decided it"
        return "source-path-lost" if entry.state == "unclaimed" or prefix in self._taken_back else "exit-not-shown"
