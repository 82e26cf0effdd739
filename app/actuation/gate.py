"""Whether a move may be made now, by what BMP, the routers' sessions and the speakers show. It only reads."""

from collections.abc import Mapping

from app.actuation.bmp_witness import BmpWitness
from app.actuation.doubt import Doubt
from app.actuation.journal import Journal, Number
from app.actuation.overrides import Entry, Refusal
from app.actuation.safe_order import PrefixSight
from app.actuation.session_witness import SessionWitness
from app.actuation.speaker_state import SpeakerState
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.contract.schemas import Override
from app.te.decision.plan import ROUTER_DOUBTFUL
from app.te.routing.path import Path

BEGINS_S = 10.0
REAPED_S = 10.0  # after the end of its lease, no route is left


class Gate:
    """The Judge of the overrides of one PoP: what it refuses is published."""

    def __init__(
        self,
        witness: BmpWitness,
        sessions: SessionWitness,
        speakers: Mapping[str, SpeakerState],
        doubt: Doubt,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._witness = witness
        self._sessions = sessions
        self._speakers = speakers
        self._doubt = doubt
        self._clock = clock
        self._journal = journal
        self._began_s, self._has_begun = clock.monotonic_s(), False

    def has_begun(self) -> bool:
        """Whether it is known of each speaker whose it is; a missing one is waited for at the start for BEGINS_S."""
        if not self._has_begun:
            is_known = all(speaker.owned or speaker.holder is not None for speaker in self._speakers.values())
            self._has_begun = is_known or self._clock.monotonic_s() - self._began_s > BEGINS_S
        return self._has_begun

    def held(self, prefix: str) -> dict[str, InjectedRoute]:
        """Return our routes for this prefix in the speakers, by router.

        One that does not answer has none whose lease ended: its reaper, or its end, took them.
        """
        held = {router: speaker.held[prefix] for router, speaker in self._speakers.items() if prefix in speaker.held}
        gone_s = self._clock.now_s() - REAPED_S
        return {r: route for r, route in held.items() if self._speakers[r].reachable or route.lease_end_s > gone_s}

    def shown(self, entry: Entry, held: Mapping[str, InjectedRoute]) -> dict[str, str]:
        """Our routes as the routers show them. Of a doubtful one that is not the exit, its speaker has to do.

        Else a router whose BMP is lost for days would stop all moves of its PoP: each would wait to be shown by it.
        """
        shown = {r: hop for r in self._speakers if (hop := self._witness.shown(r, entry.prefix)) is not None}
        if entry.wanted and entry.exit is not None:
            for router in self._doubt.routers - {entry.exit.router}:
                shown.pop(router, None)
                if router in held:
                    shown[router] = held[router].next_hop
        return shown

    def live_path(self, override: Override) -> Path | None:
        """The live path that an override copies; None if it was lost by what either witness says."""
        egress = override.exit
        if self._sessions.has_lost(egress.router, override.prefix, egress.next_hop):
            return None
        return self._witness.exit_path(override.prefix, egress, override.source_path.as_path)

    def alive(self, prefix: str, router: str, next_hop: str) -> bool:
        """Whether a router has a live path to `next_hop` by any session."""
        is_lost = self._sessions.has_lost(router, prefix, next_hop)
        return not is_lost and self._witness.alive(router, prefix, next_hop)

    def is_taken_back(self, prefix: str) -> bool:
        """Whether a router at which a prefix leaves the PoP took its path back, which is known without BMP."""
        return any(
            self._sessions.has_lost(router, prefix, route.next_hop)
            for router, route in self.held(prefix).items()
            if route.next_hop not in self._witness.pop.router_by_loopback
        )

    def is_blind(self, sight: PrefixSight) -> bool:
        """Whether a router that is sent to another one will not show when it no longer is: its speaker has to do."""
        shown = sight.shown.items()
        return any(
            router in self._doubt.routers and next_hop in self._witness.pop.router_by_loopback
            for router, next_hop in shown
        )

    def must_not_begin(self, entry: Entry, sight: PrefixSight) -> bool:
        """Whether BMP of its exit's router fell silent after an override was decided and before it was announced."""
        assert entry.exit is not None, "a decision set the exit"
        router = entry.exit.router
        present = sight.actual.get(router)
        has_begun = present is not None and present.next_hop == entry.routes[router].next_hop
        return not has_begun and router in self._doubt.routers

    def gate(self, override: Override) -> Refusal | None:
        """Return why this override cannot be added or changed now."""
        if override.exit.router in self._doubt.routers:
            return Refusal(ROUTER_DOUBTFUL, override.exit.router)
        for router in sorted(self._witness.holders(override.prefix).difference(override.inject_on)):
            return Refusal("holder-not-injected", router)
        for router in override.inject_on:
            speaker = self._speakers[router]
            if not speaker.reachable:
                return Refusal("speaker-unreachable", router)
            if not speaker.owned:
                return Refusal("speaker-not-ours", router)
            if speaker.barred_until_s > self._clock.monotonic_s():
                return Refusal("router-not-confirmed", router)
            if not self._witness.injector_up(router):
                return Refusal("injector-session-down", router)
        return None

    def refused(self, override: Override, number: Number, refusal: Refusal) -> None:
        """Publish that a decided move was refused."""
        self._journal.refused(override.prefix, override.exit, number, refusal.reason, refusal.router)
