"""The working paper of one cycle: overrides kept, made and released, refused moves, and the ledger behind them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.config.inventory import Pop
from app.config.thresholds import Pacing, Thresholds
from app.contract.schemas import Exit, NaturalExit, Override, Refused
from app.te.cycle_state import StandingOverride
from app.te.decision.allocator import NOTHING_BPS, Task, allocate, excess_bps
from app.te.decision.carry_over import copied
from app.te.decision.guards import Budget, Guards, family_refusal
from app.te.decision.ledger import NO_ROOM, Candidate, Ledger, Move
from app.te.routing.forwarding import Igp, fault
from app.te.routing.natural import Alternate, NaturalRouting
from app.te.traffic.loads import Traffic

ROUTER_DOUBTFUL = "router-doubtful"
REFUSED_MAX = 10  # this many of the largest refused prefixes are published per link


@dataclass(frozen=True)
class Context:
    """Everything that does not change within a cycle. `barred` is the reason why no new move is allowed, or None."""

    pop: Pop
    thresholds: Thresholds
    pacing: Pacing
    natural: NaturalRouting
    guards: Guards
    igp: Igp
    now_s: int  # end of the newest window
    window_s: int
    mismatch_share: float | None = None
    barred: str | None = None
    quarantine: Mapping[str, int] = field(default_factory=dict)  # prefix -> time before which it must not move
    doubtful: frozenset[str] = frozenset()  # routers whose paths may be out of date


@dataclass
class Plan:
    """Kept and made overrides by prefix; `invalidated` and `released` map prefixes to the reason why theirs ended.

    `open_links` are congested links. `unseen` links have natural load that is not in their figures.
    """

    context: Context
    traffic: Traffic
    kept: dict[str, StandingOverride]
    invalidated: dict[str, str]
    open_links: frozenset[str]
    unseen: frozenset[str]
    made: dict[str, StandingOverride] = field(default_factory=dict)
    released: dict[str, str] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    unmoved: dict[str, tuple[str, str]] = field(default_factory=dict)  # all refusals: prefix -> (link, reason)

    def __post_init__(self) -> None:
        self.moved_samples: dict[str, float] = {}  # by natural link
        for pair in self.traffic.pairs.moved:
            self.moved_samples[pair.natural] = self.moved_samples.get(pair.natural, 0.0) + pair.samples
        self.untrusted = frozenset(link for link, load in self.traffic.loads.items() if load.feed == "untrusted")
        self.ledger = self._ledger()
        self._verdicts: dict[tuple[str, Exit], str | None] = {}

    def capacity_bps(self, link: str) -> float:
        """The capacity of a link in the newest window."""
        return self.traffic.loads[link].capacity_bps

    def natural_links(self, prefix: str) -> dict[str, float]:
        """The natural load of a prefix by link id; if no traffic was seen, its natural exits by BGP with load 0."""
        natural_links: dict[str, float] = {}
        for pair in self.traffic.pairs.of(prefix):
            natural_links[pair.natural] = natural_links.get(pair.natural, 0.0) + pair.bps
        return natural_links or {egress.link: 0.0 for egress in self.context.natural.exits(prefix).values()}

    def main_link(self, prefix: str) -> str | None:
        """The natural link with the most load of a prefix; None if BGP has no exit for it by a known link."""
        links = self.natural_links(prefix)
        return max(links, key=lambda link: (links[link], link), default=None)

    def natural_exits(self, prefix: str) -> tuple[NaturalExit, ...]:
        """The natural links of a prefix as shares of its load, the largest first."""
        return natural_exits(self.context.pop, self.natural_links(prefix))

    def bps(self, prefix: str) -> float:
        """The demand of a prefix over all ingress routers, bits per second."""
        return sum(pair.bps for pair in self.traffic.pairs.of(prefix))

    def candidate(self, prefix: str) -> Candidate:
        """The prefix as a candidate to move: the links it leaves by now, and every path it could take."""
        off_bps: dict[str, float] = {}
        for pair in self.traffic.pairs.of(prefix):
            off_bps[pair.planned] = off_bps.get(pair.planned, 0.0) + pair.bps
        samples = sum(pair.samples for pair in self.traffic.pairs.of(prefix))
        return Candidate(prefix, off_bps, samples, self.context.natural.alternates(prefix), prefix in self.kept)

    def move(self, tasks: Iterable[Task], reasons: Mapping[str, str]) -> None:
        """Allocate these tasks and note the overrides made and refused; `reasons` gives their reason by source link."""
        for task in allocate(tasks, self.ledger, self.verdict):
            for move in task.moves:
                self._make(move, reasons[task.source])
            self._note_refusals(task)

    def refuse_link(self, link: str, goal_share: float, reason: str) -> None:
        """Note that all load of a link above its goal stays there, without naming prefixes."""
        excess = self.ledger.load_bps[link] - goal_share * self.capacity_bps(link)
        self.refused.append(Refused("*", link, reason, max(excess, 0.0)))

    def release(self, prefix: str, reason: str) -> None:
        """Release a kept override. In the ledger its load moves back to its natural links at once."""
        off_bps = self.candidate(prefix).off_bps
        self.ledger.shift(off_bps, {link: bps for link, bps in self.natural_links(prefix).items() if bps})
        del self.kept[prefix]
        self.released[prefix] = reason

    def _ledger(self) -> Ledger:
        pop, loads = self.context.pop, self.traffic.loads
        limits = {  # keeps room for the links' own traffic that is moved off them
            link: self.context.thresholds.fill_to * loads[link].capacity_bps - (loads[link].moved_out_bps or 0.0)
            for link in self.traffic.usable - self.open_links
        }
        moved_bps = sum(load.moved_out_bps or 0.0 for load in loads.values())
        budget = Budget(pop.budgets, self.traffic.offered_bps, len(self.kept), moved_bps)
        cost = {name: link.cost for name, link in pop.links.items()}
        room_bps = self._session_room_bps()
        return Ledger(self.traffic.planned_bps, limits, cost, room_bps, budget, self.untrusted)

    def _session_room_bps(self) -> dict[tuple[str, str], float]:
        """What each (router, peer) session with a cap may still receive."""
        capped = [
            (name, session.cap_bps, (link.router, session.peer))
            for name, link in self.context.pop.links.items()
            for session in link.sessions
            if session.cap_bps is not None
        ]
        room_bps = {session: cap_bps for _, cap_bps, session in capped}
        for pair in self.traffic.pairs.planned_on({name for name, *_ in capped}):
            kept = self.kept.get(pair.prefix)
            egress = kept.override.exit if kept else self.context.natural.natural_exit(pair.ingress, pair.prefix)
            if egress is not None and egress.link == pair.planned and (egress.router, egress.peer) in room_bps:
                room_bps[egress.router, egress.peer] -= pair.bps
        return room_bps

    def verdict(self, candidate: Candidate, target: Alternate) -> str | None:
        """The reason code why this move is not allowed or not safe, or None; computed once a cycle."""
        if self.context.barred is not None:
            return self.context.barred
        key = candidate.prefix, target.exit
        if key not in self._verdicts:
            inject_on = self._inject_on(*key)
            context = self.context
            self._verdicts[key] = (
                self._doubt(target)
                or family_refusal(candidate.prefix, target.exit.next_hop)
                or context.guards.routers(inject_on)
                or fault(context.natural, context.igp, candidate.prefix, target.exit, inject_on)
            )
        return self._verdicts[key]

    def _doubt(self, target: Alternate) -> str | None:
        """Why this path may not be copied now: nobody would report that it was lost."""
        return ROUTER_DOUBTFUL if target.exit.router in self.context.doubtful else None

    def _inject_on(self, prefix: str, egress: Exit) -> tuple[str, ...]:
        return self.context.igp.order(egress.router, self.context.natural.holders(prefix))

    def _make(self, move: Move, reason: str) -> None:
        prefix, egress = move.candidate.prefix, move.target.exit
        self.kept.pop(prefix, None)
        override = Override(
            prefix=prefix,
            exit=egress,
            inject_on=self._inject_on(prefix, egress),
            natural=self.natural_exits(prefix),
            source_path=copied(move.target.path),
            bps=move.candidate.bps,
            reason=reason,
        )
        self.made[prefix] = StandingOverride(override, self.context.now_s, self._mispredicted(prefix))

    def _mispredicted(self, prefix: str) -> dict[str, tuple[str, str]]:
        exits = self.context.natural.exits(prefix)
        return {
            pair.ingress: (exits[pair.ingress].link, pair.natural)
            for pair in self.traffic.pairs.of(prefix)
            if pair.ingress in exits and exits[pair.ingress].link != pair.natural
        }

    def _note_refusals(self, task: Task) -> None:
        largest = sorted(task.refused, key=lambda prefix: (-self.bps(prefix), prefix))[:REFUSED_MAX]
        self.unmoved |= {prefix: (task.source, reason) for prefix, reason in task.refused.items()}
        self.refused += [Refused(prefix, task.source, task.refused[prefix], self.bps(prefix)) for prefix in largest]
        if not task.pool and not largest and (excess := excess_bps(task, self.ledger)) > NOTHING_BPS:
            self.refused.append(Refused("*", task.source, NO_ROOM, excess))


def natural_exits(pop: Pop, natural_links: Mapping[str, float]) -> tuple[NaturalExit, ...]:
    """Natural links as shares of their total load, the largest first."""
    total = sum(natural_links.values())
    shares = {link: bps / total if total else 1 / len(natural_links) for link, bps in natural_links.items()}
    ordered = sorted(shares, key=lambda link: (-shares[link], link))
    return tuple(NaturalExit(pop.links[link].router, link, shares[link]) for link in ordered if link in pop.links)
