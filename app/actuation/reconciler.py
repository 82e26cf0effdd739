"""The actuator's judgement for one PoP: what each router's speaker should hold right now, and why. No I/O, no awaits.

Level-triggered: decisions, BMP changes and what the speakers hold come in by calls, and the targets follow at once.
Whoever drives the speakers asks for the `work` of one router, does it, and says so; nothing is sent from here.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from app import metrics
from app.actuation.bmp_witness import BmpWitness
from app.actuation.journal import REPAIRED, Journal
from app.actuation.overrides import Entry, Overrides
from app.actuation.safe_order import PrefixSight, settled, to_hold, to_leave
from app.actuation.speaker_state import SpeakerState, Work
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.contract.schemas import Decision, Override

log = logging.getLogger(__name__)


class Timing(msgspec.Struct, frozen=True):
    """Seconds; `confirm_s` covers a gobgpd restart with its reconnect. At most `paced` holds end in a tick.

    `reap_grace_s` is how long the orderly way has after the end of a hold, before the reaper comes.
    """

    lease_s: float = 300.0
    confirm_s: float = 20.0
    bar_s: float = 60.0
    tick_s: float = 1.0
    list_every_s: float = 2.0
    paced: int = 5
    reap_grace_s: float = 60.0


DEFAULT_TIMING = Timing()


class Reconciler:
    """One PoP. While not `ready` nothing is added or withdrawn; a halt withdraws everything all the same."""

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

    def follow(self, decision: Decision) -> None:
        """Follow a decision. While halted only its number is kept."""
        if self.halts:
            self.overrides.newest = max(self.overrides.newest, (decision.epoch, decision.seq))
            return
        if decision.epoch < (newest := self.overrides.newest[0]):
            log.warning(
                "decision of epoch %d is ignored, %d was seen: two writers, or a clock was wrong",
                decision.epoch,
                newest,
                extra={"pop": decision.pop, "decision": f"{decision.epoch}.{decision.seq}"},
            )
        self._plan(self.overrides.apply(decision, self.held, self._gate, self._journal.refused))

    def rib_changed(self, prefixes: Iterable[str]) -> None:
        """BMP told of these prefixes; cheap where none of them is ours."""
        if self.overrides.entries and self._fresh():
            self._plan([prefix for prefix in prefixes if prefix in self.overrides.entries])

    def halt(self, source: str, on: bool) -> None:
        """The kill switch `source` is on or off. Any that is on takes back everything of ours and adds nothing."""
        before = bool(self.halts)
        (self.halts.add if on else self.halts.discard)(source)
        if self.halts and not before:
            for entry in self.overrides.entries.values():
                self.overrides.leave(entry, f"halted by {source}")
            self._plan(list(self.overrides.entries))

    def tick(self) -> None:
        """Let time pass: ends of holds at their pace, and whatever waited too long. Call every `tick_s` or oftener."""
        now_s = self._clock.monotonic_s()
        if self._ready() and now_s >= self._next_ends_s:
            self._next_ends_s = now_s + self.timing.tick_s
            self.overrides.expire(self.timing.paced)
        self._plan(list(self.overrides.entries))

    def work(self, router: str) -> Work:
        """What to do at one router now."""
        return self.speakers[router].work if self._fresh() else Work([], [])

    def listed(self, router: str, routes: Mapping[str, InjectedRoute]) -> None:
        """What the speaker of `router` really holds. What nobody decided is adopted, what is missing is repaired."""
        differences = self.speakers[router].relist(routes)
        for action, route, reason in differences:
            self._journal.route(action, router, route, reason)
        for prefix in routes.keys() - self.overrides.entries.keys():
            self.overrides.adopt(prefix)
        self._plan({difference.route.prefix for difference in differences})

    def announced(self, router: str, routes: Iterable[InjectedRoute]) -> None:
        """The speaker took these."""
        for route in routes:
            self.speakers[router].held[route.prefix] = route
            entry = self.overrides.entries.get(route.prefix)
            reason = entry.reason if entry is not None and entry.state == "adding" else REPAIRED
            self._journal.route("announced", router, route, reason)
            if entry is not None:
                entry.announced = True
                if entry.state == "adding" and entry.exit is not None and entry.exit.router == router:
                    self._journal.took(metrics.ANNOUNCE_SECONDS, entry.decided_s)
            self._plan([route.prefix])

    def withdrawn(self, router: str, prefixes: Iterable[str]) -> None:
        """The speaker let these go."""
        for prefix in prefixes:
            if (route := self.speakers[router].drop(prefix)) is not None:
                self._journal.route("withdrawn", router, route, self._why(prefix))
            self._plan([prefix])

    def failed(self, router: str) -> None:
        """The speaker did not answer, or not in time: what it holds is unknown."""
        self.speakers[router].certain = self.speakers[router].reachable = False

    def deadlines(self) -> dict[str, float]:
        """When each prefix must be gone at the latest, monotonic seconds: what a reaper goes by."""
        return {prefix: entry.lease_until_s for prefix, entry in self.overrides.entries.items()}

    def describe_overrides(self) -> dict[str, dict[str, str]]:
        """For people: the state and reason of each prefix, and its next hop by router."""
        return {
            prefix: {"state": entry.state, "reason": entry.reason}
            | {router: route.next_hop for router, route in self.held(prefix).items()}
            for prefix, entry in self.overrides.entries.items()
        }

    def describe_speakers(self) -> dict[str, dict[str, int]]:
        """For people: by router, whether its speaker answers, and how many routes it holds and should hold."""
        return {
            router: {"reachable": speaker.reachable, "held": len(speaker.held), "wanted": len(speaker.target)}
            for router, speaker in self.speakers.items()
        }

    def held(self, prefix: str) -> dict[str, InjectedRoute]:
        """Our routes for this prefix by router, in the speakers."""
        return {router: speaker.held[prefix] for router, speaker in self.speakers.items() if prefix in speaker.held}

    def _fresh(self) -> bool:
        """Whether targets mean anything: BMP was read to its end, or all must go. After a gap they are recreated."""
        if not self.halts and not self._ready():
            self._stale = True
        elif self._stale:
            self._stale = False
            self.overrides.wait_again()
            self._plan(list(self.overrides.entries))
        return not self._stale

    def _plan(self, prefixes: Iterable[str]) -> None:
        """Bring the targets of these prefixes up to date, and call for work where a speaker differs."""
        if not self._fresh():
            return
        for prefix in prefixes:
            wanted = self._wanted(prefix)
            for router, speaker in self.speakers.items():
                if speaker.aim(prefix, wanted.get(router)):
                    self.on_work(router)

    def _wanted(self, prefix: str) -> Mapping[str, InjectedRoute]:
        """What the routers should hold for this prefix; moves its entry on, and forgets it when it is gone."""
        held, entry = self.held(prefix), self.overrides.entries.get(prefix)
        if entry is None or self.halts:
            if not held:
                self.overrides.entries.pop(prefix, None)
            return {}
        shown = {router: seen for router in self.speakers if (seen := self._witness.shown(router, prefix)) is not None}
        sight = PrefixSight(held, shown, self._loopbacks, partial(self._alive, entry))
        self._move_on(entry, sight)
        match entry.state:
            case "adding" | "standing":
                assert entry.exit is not None, "a decision named it"
                return to_hold(sight, entry.routes, entry.exit.router)
            case "unclaimed":
                wanted = sight.safe()
            case "leaving" | "lost":  # what no longer leads out goes at once, the rest in order
                waited_s = self._clock.monotonic_s() - entry.since_s
                wanted = to_leave(sight, trust_speakers=waited_s > self.timing.confirm_s)
        if not held:
            self._forget(entry)
        return wanted

    def _forget(self, entry: Entry) -> None:
        """Nothing of it is left. What was decided and never announced counts as refused."""
        del self.overrides.entries[entry.prefix]
        if entry.exit is not None and not entry.announced:
            route = entry.routes[entry.exit.router]
            self._journal.refused(entry.prefix, entry.exit, route.epoch, route.seq, entry.reason)

    def _alive(self, entry: Entry, router: str, next_hop: str) -> bool:
        """Of the path that an entry copies, its own session counts; of others, any with this next hop."""
        where = entry.exit
        if where is not None and (where.router, where.next_hop) == (router, next_hop):
            return self._exit_alive(entry)
        return self._witness.alive(router, entry.prefix, next_hop)

    def _exit_alive(self, entry: Entry) -> bool:
        return entry.exit is not None and self._witness.exit_alive(entry.prefix, entry.exit)

    def _move_on(self, entry: Entry, sight: PrefixSight) -> None:
        """The next state of an entry that a decision wants."""
        now_s = self._clock.monotonic_s()
        if not entry.wanted:
            return
        self._tell_confirmed(entry, sight)
        if not self._exit_alive(entry):
            self.overrides.lose(entry)
        elif entry.lease_until_s <= now_s:
            entry.state = "unclaimed"  # it goes when its turn comes; until then nothing is added for it
        elif settled(sight, entry.routes):
            if entry.state == "adding":
                self._journal.took(metrics.ROUTE_SECONDS, entry.decided_s)
            entry.state, entry.since_s = "standing", now_s
        elif entry.state == "adding" and now_s > entry.add_until_s and not sight.actual.keys() >= entry.routes.keys():
            self.overrides.leave(entry, "add-window-ended")
        elif now_s - entry.since_s > self.timing.confirm_s:
            self._bar(entry, sight)
            self.overrides.leave(entry, "not-confirmed")

    def _tell_confirmed(self, entry: Entry, sight: PrefixSight) -> None:
        for router, route in sight.actual.items():
            confirmed = self.speakers[router].confirmed
            if confirmed.get(entry.prefix) != route and sight.shows(router, route):
                confirmed[entry.prefix] = route
                self._journal.route("confirmed", router, route, entry.reason)

    def _bar(self, entry: Entry, sight: PrefixSight) -> None:
        """No new moves for a while on the routers that did not take this one."""
        for router, route in entry.routes.items():
            if not sight.shows(router, route):
                self.speakers[router].barred_until_s = self._clock.monotonic_s() + self.timing.bar_s

    def _gate(self, override: Override) -> str | None:
        """Why this override cannot be added or changed now. Before BMP was read nobody knows: it is looked at again."""
        if not self._ready():
            return None
        if not self._witness.exit_alive(override.prefix, override.exit):
            return "source-path-not-live"
        for router in override.inject_on:
            speaker = self.speakers[router]
            if not speaker.reachable:
                return "speaker-unreachable"
            if speaker.barred_until_s > self._clock.monotonic_s():
                return "router-not-confirmed"
            if not self._witness.injector_up(router):
                return "injector-session-down"
        return None

    def _why(self, prefix: str) -> str:
        """Why a route was just withdrawn."""
        entry = self.overrides.entries.get(prefix)
        if self.halts:
            return f"halted by {', '.join(sorted(self.halts))}"
        if entry is None or entry.going:
            return entry.reason if entry else "nobody decided it"
        return "source-path-lost" if entry.state == "unclaimed" else "exit-not-shown"
