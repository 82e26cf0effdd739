"""The actuator's judgement for one PoP: what each router's speaker should hold right now, and why. No I/O, no awaits.

Level-triggered: decisions, BMP changes and what the speakers hold come in by calls, and the targets follow at once.
The driver asks for the `work` of one router, carries it out and reports back; nothing is sent from here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from zlib import crc32

import msgspec

from app import metrics
from app.actuation.bmp_witness import BmpWitness
from app.actuation.journal import NOBODYS, REPAIRED, Action, Journal
from app.actuation.overrides import Entry, Overrides
from app.actuation.safe_order import PrefixSight, settled, to_hold, to_leave
from app.actuation.speaker_state import SpeakerState, Work
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.config.inventory import Pop
from app.contract.schemas import Decision, Override
from app.te.decision.plan import ROUTER_DOUBTFUL

log = logging.getLogger(__name__)
NOT_HEARD = "router-not-heard"
SHORTER_S = 2.0  # a lease on a route is not made shorter by less


class Timing(msgspec.Struct, frozen=True):
    """The times of the actuator, in seconds; `paced` is how many leases may end in one tick.

    `confirm_s` covers a restart of gobgpd and its reconnection. `reap_grace_s` is how long the reconciler has after
    the end of a lease to withdraw in order, before the reaper acts. `doubt_lease_s` is how long overrides stay whose
    exit's router is doubted: 30 s, less what it takes to withdraw all of them.
    """

    lease_s: float = 300.0
    confirm_s: float = 20.0
    bar_s: float = 60.0
    tick_s: float = 1.0
    list_every_s: float = 2.0
    paced: int = 5
    reap_grace_s: float = 60.0
    doubt_lease_s: float = 25.0


DEFAULT_TIMING = Timing()


class Reconciler:
    """The reconciler of one PoP. Until `ready`, nothing is added or withdrawn; a halt still withdraws everything.

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
        self.halts: set[str] = set()
        self.on_work: Callable[[str], None] = lambda router: None
        self._witness = witness
        self._loopbacks = witness.pop.router_by_loopback
        self._clock = clock
        self._journal = journal
        self._ready = ready
        self._stale = True
        self._next_ends_s = 0.0
        self._doubtful: frozenset[str] = frozenset()  # as of the last tick or decision
        self._doubted_until: Mapping[str, float] = {}  # as of then, too

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory of the same routers."""
        self._witness.pop = pop
        self.overrides.reconfigure(pop)

    def follow(self, decision: Decision) -> None:
        """Follow a decision; while halted, only remember its number."""
        if self.halts:
            self.overrides.newest = max(self.overrides.newest, (decision.epoch, decision.seq))
            return
        self._look_for_doubt()
        if decision.epoch < (newest := self.overrides.newest[0]):
            log.warning(
                "ignored a decision of epoch %d after one of epoch %d: there are two writers, or a clock was wrong",
                decision.epoch,
                newest,
                extra={"pop": decision.pop, "decision": f"{decision.epoch}.{decision.seq}"},
            )
        self._plan(self.overrides.apply(decision, self.held, self._gate, self._journal.refused))

    def rib_changed(self, prefixes: Iterable[str]) -> None:
        """Reconsider these prefixes, of which BMP reported a change; cheap if none of them has an override."""
        if self.overrides.entries and self._fresh():
            self._plan([prefix for prefix in prefixes if prefix in self.overrides.entries])

    def halt(self, source: str, on: bool) -> None:
        """Set the kill switch `source` on or off. While any is on, all our routes are withdrawn and none is added."""
        was_halted = bool(self.halts)
        if on:
            self.halts.add(source)
        else:
            self.halts.discard(source)
        if self.halts and not was_halted:
            for entry in self.overrides.entries.values():
                self.overrides.leave(entry, f"halted by {source}")
            self._plan(list(self.overrides.entries))

    def tick(self) -> None:
        """Act on time: end leases at their pace, and give up what waited too long. Call at least every `tick_s`."""
        self._look_for_doubt()
        now_s = self._clock.monotonic_s()
        if self._ready() and now_s >= self._next_ends_s:
            self._next_ends_s = now_s + self.timing.tick_s
            self.overrides.expire(self.timing.paced)
            for entry in self.overrides.entries.values() if self._doubted_until else ():
                if self._lease_until_s(entry, self._doubted_until) <= now_s < entry.lease_until_s:
                    self.overrides.leave(entry, NOT_HEARD)
        self._plan(list(self.overrides.entries))

    def work(self, router: str) -> Work:
        """Return the changes to make at the speaker of one router now."""
        return self.speakers[router].work if self._fresh() else Work([], [])

    def listed(self, router: str, routes: Mapping[str, InjectedRoute]) -> None:
        """Take over what the speaker of `router` holds: adopt routes that nobody decided, repair what is missing."""
        differences = self.speakers[router].relist(routes)
        for action, route, reason in differences:
            self._tell(action, router, route, reason)
        for prefix in routes.keys() - self.overrides.entries.keys():
            self.overrides.adopt(prefix, routes[prefix])
        self._plan({difference.route.prefix for difference in differences})

    def announced(self, router: str, routes: Iterable[InjectedRoute]) -> None:
        """Note that the speaker of `router` took these routes."""
        for route in routes:
            self.speakers[router].held[route.prefix] = route
            entry = self.overrides.entries.get(route.prefix)
            reason = entry.reason if entry is not None and entry.state == "adding" else REPAIRED
            self._tell("announced", router, route, reason)
            if entry is not None:
                entry.announced = True
                if entry.state == "adding" and entry.exit is not None and entry.exit.router == router:
                    self._journal.observe_delay(metrics.ANNOUNCE_SECONDS, entry.decided_s)
            self._plan([route.prefix])

    def withdrawn(self, router: str, prefixes: Iterable[str]) -> None:
        """Note that the speaker of `router` withdrew these prefixes."""
        for prefix in prefixes:
            if (route := self.speakers[router].drop(prefix)) is not None:
                self._tell("withdrawn", router, route, self._why(prefix))
            self._plan([prefix])

    def failed(self, router: str) -> None:
        """Note that the speaker of `router` did not answer in time: what it holds is unknown."""
        self.speakers[router].certain = self.speakers[router].reachable = False

    def _doubted_until_s(self) -> dict[str, float]:
        """When overrides that leave by a router end because it is silent, in monotonic seconds, by router in doubt.

        Nobody would report that one of its paths was lost.
        """
        now_s = self._clock.monotonic_s()
        doubted_s = {router: self._witness.doubted_for_s(router) for router in self.speakers}
        return {
            router: now_s - past_s + self.timing.doubt_lease_s for router, past_s in doubted_s.items() if past_s > 0
        }

    def _lease_until_s(self, entry: Entry, doubted_until_s: Mapping[str, float]) -> float:
        """When the lease of an entry ends, in monotonic seconds, with the routers in doubt."""
        if not doubted_until_s:
            return entry.lease_until_s
        return min([entry.lease_until_s, *(doubted_until_s.get(router, inf) for router in self._exits(entry))])

    def _exits(self, entry: Entry) -> set[str]:
        """The routers by which traffic of this entry leaves: where our routes have a next hop outside the PoP."""
        held = {router for router, route in self.held(entry.prefix).items() if route.next_hop not in self._loopbacks}
        return held if entry.exit is None else held | {entry.exit.router}

    def describe_overrides(self) -> dict[str, dict[str, str]]:
        """Return, for people, the state and reason of each prefix and its next hop by router."""
        return {
            prefix: {"state": entry.state, "reason": entry.reason}
            | {router: route.next_hop for router, route in self.held(prefix).items()}
            for prefix, entry in self.overrides.entries.items()
        }

    def describe_speakers(self) -> dict[str, dict[str, int]]:
        """Return, for people, whether each speaker answers, how many routes it holds and should hold, and more.

        "doubtful": BMP of its router has been silent for too long, so nothing new is announced there.
        """
        return {
            router: {
                "reachable": speaker.reachable,
                "held": len(speaker.held),
                "wanted": len(speaker.target),
                "doubtful": self._witness.heard(router).doubtful,
            }
            for router, speaker in self.speakers.items()
        }

    def held(self, prefix: str) -> dict[str, InjectedRoute]:
        """Return our routes for this prefix in the speakers, by router."""
        return {router: speaker.held[prefix] for router, speaker in self.speakers.items() if prefix in speaker.held}

    def _fresh(self) -> bool:
        """Whether targets are valid: BMP was read to its end, or everything must go. After a gap, recreate them."""
        if not self.halts and not self._ready():
            self._stale = True
        elif self._stale:
            self._stale = False
            self._look_for_doubt()
            for prefix in [each for each, entry in self.overrides.entries.items() if entry.state == "unclaimed"]:
                for route in self.held(prefix).values():  # found before the broker had said its time
                    self.overrides.adopt(prefix, route)
            self.overrides.wait_again()
            self._plan(list(self.overrides.entries))
        return not self._stale

    def _plan(self, prefixes: Iterable[str]) -> None:
        """Bring the targets of these prefixes up to date, and call `on_work` for each speaker that differs."""
        if not self._fresh():
            return
        for prefix in prefixes:
            wanted = self._wanted(prefix)
            for router, speaker in self.speakers.items():
                if speaker.aim(prefix, wanted.get(router)):
                    self.on_work(router)

    def _wanted(self, prefix: str) -> Mapping[str, InjectedRoute]:
        """Return the routes that the speakers should hold for this prefix, after updating its entry."""
        held, entry = self.held(prefix), self.overrides.entries.get(prefix)
        if entry is None or self.halts:
            if not held:
                self.overrides.entries.pop(prefix, None)
            return {}
        sight = PrefixSight(held, self._shown(entry, held), self._loopbacks, partial(self._alive, entry))
        self._move_on(entry, sight)
        match entry.state:
            case "adding" | "standing":
                assert entry.exit is not None, "a decision set the exit"
                return to_hold(sight, self._leased(entry), entry.exit.router, self._is_due)
            case "unclaimed":
                wanted = sight.safe()
            case "leaving" | "lost":  # routes that no longer lead out go at once, the others in order
                waited_s = self._clock.monotonic_s() - entry.since_s
                wanted = to_leave(sight, self._is_blind(sight) or waited_s > self.timing.confirm_s)
        if not held:
            self._forget(entry)
        return wanted

    def _tell(self, action: Action, router: str, route: InjectedRoute, reason: str) -> None:
        """Publish an action with the number of the decision that wants the override, if one does."""
        entry = self.overrides.entries.get(route.prefix)
        self._journal.route(action, router, route, reason, entry.number if entry is not None else NOBODYS)

    def _shown(self, entry: Entry, held: Mapping[str, InjectedRoute]) -> dict[str, str]:
        """Our routes as the routers show them. Of a doubtful one that is not the exit, its speaker has to do.

        Else a router whose BMP is lost for days would stop all moves of its PoP: each would wait to be shown by it.
        """
        shown = {r: hop for r in self.speakers if (hop := self._witness.shown(r, entry.prefix)) is not None}
        if entry.wanted and entry.exit is not None:
            for router in self._doubtful - {entry.exit.router}:
                shown.pop(router, None)
                if router in held:
                    shown[router] = held[router].next_hop
        return shown

    def _is_blind(self, sight: PrefixSight) -> bool:
        """Whether a router that is sent to another one will not show when it no longer is: its speaker has to do."""
        shown = sight.shown.items()
        return any(router in self._doubtful and next_hop in self._loopbacks for router, next_hop in shown)

    def _leased(self, entry: Entry) -> Mapping[str, InjectedRoute]:
        """The routes of an override, leased for as long as it may stay; less while its exit's router is doubted."""
        until_s = self._lease_until_s(entry, self._doubted_until)
        if until_s == entry.lease_until_s:
            return entry.routes
        return {router: route.leased_until(self.overrides.unix_s(until_s)) for router, route in entry.routes.items()}

    def _is_due(self, present: InjectedRoute, wanted: InjectedRoute) -> bool:
        """Whether the lease on a route has to be renewed: after two thirds of it, at a moment of the prefix's own.

        Or made shorter, because its exit's router is doubted.
        """
        if wanted.lease_end_s < present.lease_end_s - SHORTER_S:
            return True
        left_s = present.lease_end_s - self._clock.now_s()
        spread = 0.5 + crc32(present.prefix.encode()) % 1000 / 2000
        return wanted.lease_end_s > present.lease_end_s and left_s < spread * self.timing.lease_s / 3

    def _forget(self, entry: Entry) -> None:
        """Drop an entry of which no route is left; a move that was decided but never announced counts as refused."""
        del self.overrides.entries[entry.prefix]
        if entry.exit is not None and not entry.announced:
            self._journal.refused(entry.prefix, entry.exit, entry.number, entry.reason)

    def _alive(self, entry: Entry, router: str, next_hop: str) -> bool:
        """Whether a path to `next_hop` is alive: the one that the entry copies by its own session, others by any."""
        egress = entry.exit
        if egress is not None and (egress.router, egress.next_hop) == (router, next_hop):
            return self._exit_alive(entry)
        return self._witness.alive(router, entry.prefix, next_hop)

    def _exit_alive(self, entry: Entry) -> bool:
        return entry.exit is not None and self._witness.exit_alive(entry.prefix, entry.exit)

    def _move_on(self, entry: Entry, sight: PrefixSight) -> None:
        """Move an entry that a decision wants to its next state."""
        now_s = self._clock.monotonic_s()
        if not entry.wanted:
            return
        self._publish_confirmed(entry, sight)
        if not self._exit_alive(entry):
            self.overrides.lose(entry)
        elif entry.lease_until_s <= now_s:
            entry.state = "unclaimed"  # it waits for its turn to be withdrawn; nothing is added for it meanwhile
        elif settled(sight, entry.routes):
            if entry.state == "adding":
                self._journal.observe_delay(metrics.ROUTE_SECONDS, entry.decided_s)
            entry.state, entry.since_s = "standing", now_s
        elif entry.state == "adding" and self._must_not_begin(entry, sight):
            self.overrides.leave(entry, ROUTER_DOUBTFUL)
        elif entry.state == "adding" and now_s > entry.add_until_s and not sight.actual.keys() >= entry.routes.keys():
            self.overrides.leave(entry, "add-window-ended")
        elif now_s - entry.since_s > self.timing.confirm_s:
            self._bar(entry, sight)
            self.overrides.leave(entry, "not-confirmed")

    def _publish_confirmed(self, entry: Entry, sight: PrefixSight) -> None:
        for router, route in sight.actual.items():
            confirmed = self.speakers[router].confirmed
            is_shown = sight.shows(router, route) and router not in self._doubtful
            if confirmed.get(entry.prefix) != route and is_shown:
                confirmed[entry.prefix] = route
                self._tell("confirmed", router, route, entry.reason)

    def _bar(self, entry: Entry, sight: PrefixSight) -> None:
        """Allow no new moves for a while on the routers that do not show this one."""
        for router, route in entry.routes.items():
            if not sight.shows(router, route):
                self.speakers[router].barred_until_s = self._clock.monotonic_s() + self.timing.bar_s

    def _gate(self, override: Override) -> str | None:
        """Return why this override cannot be added or changed now. Before BMP was read: None, it is judged later."""
        if not self._ready():
            return None
        if not self._witness.exit_alive(override.prefix, override.exit):
            return "source-path-not-live"
        if override.exit.router in self._doubtful:
            return ROUTER_DOUBTFUL
        for router in override.inject_on:
            speaker = self.speakers[router]
            if not speaker.reachable:
                return "speaker-unreachable"
            if speaker.barred_until_s > self._clock.monotonic_s():
                return "router-not-confirmed"
            if not self._witness.injector_up(router):
                return "injector-session-down"
        return None

    def _look_for_doubt(self) -> None:
        self._doubtful = frozenset(router for router in self.speakers if self._witness.heard(router).doubtful)
        self._doubted_until = self._doubted_until_s() if self._ready() else {}  # until BMP was read, it says nothing

    def _must_not_begin(self, entry: Entry, sight: PrefixSight) -> bool:
        """Whether BMP of its exit's router fell silent after an override was decided and before it was announced."""
        assert entry.exit is not None, "a decision set the exit"
        router = entry.exit.router
        present = sight.actual.get(router)
        has_begun = present is not None and present.next_hop == entry.routes[router].next_hop
        return not has_begun and router in self._doubtful

    def _why(self, prefix: str) -> str:
        """Return the reason for a withdrawal that was just made."""
        entry = self.overrides.entries.get(prefix)
        if self.halts:
            return f"halted by {', '.join(sorted(self.halts))}"
        if entry is None or entry.going:
            return entry.reason if entry else "nobody decided it"
        return "source-path-lost" if entry.state == "unclaimed" else "exit-not-shown"
