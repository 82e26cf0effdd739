"""The read model of one PoP: a bounded history of what the output topics say, and what changed since it was told."""

from collections import deque
from collections.abc import Iterable, Sequence

from app.clock import utc
from app.config.inventory import Pop
from app.contract.schemas import Actuation, Congestion, Control, Decision, LinkUtilization
from app.web.documents import (
    DecisionView,
    LinkView,
    OverridesView,
    OverrideView,
    PageEvent,
    Point,
    PopView,
    TruthPoint,
    Update,
)
from app.web.events import of_actuation, of_decision

HISTORY_S = 1800
EVENTS_MAX = 1000
PREFIXES_MAX = 10_000
# A window is told some 5 s after its end: with three of them missing nobody tells.
QUIET_WINDOWS = 3
GONE = ("withdrawn", "would-withdraw")


class PopModel:
    """Repeats change nothing: records are known by window, by (epoch, seq), by id."""

    def __init__(
        self, pop: Pop, window_s: int, enter_mark: float, pops: Sequence[str], mismatch_max: float = 0.0
    ) -> None:
        self.pop = pop
        self._window_s = window_s
        self._enter_mark = enter_mark
        self._mismatch_max = mismatch_max
        self._pops = tuple(pops)
        kept = HISTORY_S // window_s
        self._windows: dict[str, deque[LinkUtilization]] = {link: deque(maxlen=kept) for link in pop.links}
        self._truth: dict[str, deque[TruthPoint]] = {link: deque(maxlen=HISTORY_S) for link in pop.links}
        self._decision: Decision | None = None
        self._decisions: deque[DecisionView] = deque(maxlen=kept)
        self._routers: dict[str, dict[str, str]] = {}
        self._events: dict[str, PageEvent] = {}
        self._halt: Control | None = None
        self._told_state: PopView | None = None
        self._told_links: tuple[LinkView, ...] = ()
        self._told_overrides: OverridesView | None = None
        self._begin_changes()

    def _begin_changes(self) -> None:
        self._new_windows: dict[str, list[Point]] = {}
        self._new_truth: dict[str, list[TruthPoint]] = {}
        self._new_events: deque[PageEvent] = deque(maxlen=EVENTS_MAX)

    def take_window(self, record: LinkUtilization) -> None:
        """A closed window. One that is not newer than the last of its link is a repeat."""
        windows = self._windows.get(record.link)
        if windows is None or (windows and record.window_start <= windows[-1].window_start):
            return
        windows.append(record)
        self._new_windows.setdefault(record.link, []).append(_point(record))

    def take_decision(self, decision: Decision) -> None:
        """A decision. One that is not newer than the last is a repeat, or of an earlier epoch."""
        last = self._decision
        if last and (decision.epoch, decision.seq) <= (last.epoch, last.seq):
            return
        self._happened(of_decision(decision, last))
        self._decision = decision
        self._decisions.append(DecisionView.of(decision))

    def take_actuation(self, actuation: Actuation) -> None:
        """What the actuator did: the last action stands for its router and prefix."""
        self._happened([of_actuation(actuation)])
        routers = self._routers.pop(actuation.prefix, {})
        if actuation.action in GONE:
            routers.pop(actuation.router, None)
        else:
            routers[actuation.router] = actuation.action
        if routers:
            self._routers[actuation.prefix] = routers
        if len(self._routers) > PREFIXES_MAX:
            del self._routers[next(iter(self._routers))]

    def take_halt(self, order: Control | None) -> None:
        """The order that halts this PoP, None while it may work."""
        self._halt = order

    def take_truth(self, link: str, point: TruthPoint) -> None:
        """A second of a simulated PoP."""
        if (known := self._truth.get(link)) is not None:
            known.append(point)
            self._new_truth.setdefault(link, []).append(point)

    def state(self, now_s: float) -> PopView:
        """How the PoP stands as a whole."""
        ends_s = [_end_s(windows[-1]) for windows in self._windows.values() if windows]
        return PopView(
            halted=self._halt,
            egress_mismatch_share=self._decision.egress_mismatch_share if self._decision else None,
            barred=self._decision.barred if self._decision else None,
            quiet=self._is_quiet(max(ends_s), now_s) if ends_s else False,
            told_until=utc(max(ends_s)) if ends_s else None,
        )

    def links(self, now_s: float) -> tuple[LinkView, ...]:
        """Every link of the inventory, in its order."""
        events = self._decision.congestion if self._decision else ()
        congested = {event.link: event for event in events if event.state != "closed"}
        return tuple(self._link(link, congested, now_s) for link in self.pop.links)

    def overrides(self) -> OverridesView | None:
        """The newest decision's overrides; None before the first decision."""
        if (decision := self._decision) is None:
            return None
        return OverridesView(
            pop=decision.pop,
            mode=decision.mode,
            epoch=decision.epoch,
            seq=decision.seq,
            window_start=decision.window_start,
            made_at=decision.made_at,
            hold_until=decision.hold_until,
            overrides=tuple(
                OverrideView(override, dict(self._routers.get(override.prefix, {}))) for override in decision.overrides
            ),
        )

    def decisions(self) -> list[DecisionView]:
        """The decisions of the history, newest first."""
        return list(reversed(self._decisions))

    def snapshot(self, now_s: float) -> Update:
        """All of it, for a page that opens."""
        return Update(
            pop=self.pop.name,
            now=utc(now_s),
            full=True,
            pops=self._pops,
            enter_mark=self._enter_mark,
            mismatch_max=self._mismatch_max,
            window_s=self._window_s,
            state=self.state(now_s),
            links=self.links(now_s),
            windows={link: [_point(record) for record in records] for link, records in self._windows.items()},
            truth={link: list(points) for link, points in self._truth.items() if points},
            overrides=self.overrides(),
            events=list(self._events.values()),
        )

    def changes(self, now_s: float) -> Update:
        """What is new since this was asked last."""
        state, links, overrides = self.state(now_s), self.links(now_s), self.overrides()
        update = Update(
            pop=self.pop.name,
            now=utc(now_s),
            state=None if state == self._told_state else state,
            links=None if links == self._told_links else links,
            windows=self._new_windows,
            truth=self._new_truth,
            overrides=None if overrides == self._told_overrides else overrides,
            events=list(self._new_events),
        )
        self._told_state, self._told_links, self._told_overrides = state, links, overrides
        self._begin_changes()
        return update

    def _link(self, name: str, congested: dict[str, Congestion], now_s: float) -> LinkView:
        link, windows = self.pop.links[name], self._windows[name]
        last = windows[-1] if windows else None
        return LinkView(
            link=name,
            kind=link.kind,
            capacity_bps=last.capacity_bps if last else link.capacity_bps,
            feed=last.feed if last else None,
            quiet=last is not None and self._is_quiet(_end_s(last), now_s),
            congestion=congested.get(name),
            window=last,
        )

    def _is_quiet(self, end_s: int, now_s: float) -> bool:
        return now_s - end_s > QUIET_WINDOWS * self._window_s

    def _happened(self, events: Iterable[PageEvent]) -> None:
        for event in events:
            if event.id not in self._events:
                self._events[event.id] = event
                self._new_events.append(event)
        while len(self._events) > EVENTS_MAX:
            del self._events[next(iter(self._events))]


def _end_s(record: LinkUtilization) -> int:
    return round(record.window_start.timestamp()) + record.window_s


def _point(record: LinkUtilization) -> Point:
    silent = record.feed == "silent"
    return Point(
        end_s=_end_s(record),
        capacity_bps=record.capacity_bps,
        carried_bps=None if silent else record.carried_bps,
        dropped_bps=None if silent else record.dropped_bps,
        natural_bps=record.natural_bps,
    )
