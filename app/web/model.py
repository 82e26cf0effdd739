"""The read model of one PoP: a bounded history of what the output topics say, and what changed since it was told."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from app.clock import utc
from app.inventory import Pop
from app.schemas import Actuation, Congestion, Decision, LinkUtilization
from app.web.documents import (
    DecisionView,
    Event,
    Feed,
    LinkView,
    OverridesView,
    OverrideView,
    Point,
    TruthPoint,
    Update,
)
from app.web.events import of_actuation, of_decision

HISTORY_S = 1800
EVENTS_MAX = 300
PREFIXES_MAX = 10_000
# A window is told some 5 s after its end: with three of them missing nobody tells.
SILENT_WINDOWS = 3
GAP_SHOWN_WINDOWS = 6
GONE = ("withdrawn", "would-withdraw")


class PopModel:
    """Repeats change nothing: records are known by window, by (epoch, seq), by id."""

    def __init__(self, pop: Pop, window_s: int, enter_mark: float, pops: Sequence[str]) -> None:
        self.pop = pop
        self._window_s = window_s
        self._enter_mark = enter_mark
        self._pops = tuple(pops)
        kept = HISTORY_S // window_s
        self._windows: dict[str, deque[LinkUtilization]] = {link: deque(maxlen=kept) for link in pop.links}
        self._truth: dict[str, deque[TruthPoint]] = {link: deque(maxlen=HISTORY_S) for link in pop.links}
        self._decision: Decision | None = None
        self._decisions: deque[DecisionView] = deque(maxlen=kept)
        self._routers: dict[str, dict[str, str]] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._told_links: tuple[LinkView, ...] = ()
        self._told_overrides: OverridesView | None = None
        self._begin_changes()

    def _begin_changes(self) -> None:
        self._new_windows: dict[str, list[Point]] = {}
        self._new_truth: dict[str, list[TruthPoint]] = {}
        self._new_events: deque[Event] = deque(maxlen=EVENTS_MAX)

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

    def take_truth(self, link: str, point: TruthPoint) -> None:
        """A second of a simulated PoP."""
        if (known := self._truth.get(link)) is not None:
            known.append(point)
            self._new_truth.setdefault(link, []).append(point)

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
            links=self.links(now_s),
            windows={link: [_point(record) for record in records] for link, records in self._windows.items()},
            truth={link: list(points) for link, points in self._truth.items() if points},
            overrides=self.overrides(),
            events=list(self._events),
        )

    def changes(self, now_s: float) -> Update:
        """What is new since this was asked last."""
        links, overrides = self.links(now_s), self.overrides()
        update = Update(
            pop=self.pop.name,
            now=utc(now_s),
            links=None if links == self._told_links else links,
            windows=self._new_windows,
            truth=self._new_truth,
            overrides=None if overrides == self._told_overrides else overrides,
            events=list(self._new_events),
        )
        self._told_links, self._told_overrides = links, overrides
        self._begin_changes()
        return update

    def _link(self, name: str, congested: dict[str, Congestion], now_s: float) -> LinkView:
        link, windows = self.pop.links[name], self._windows[name]
        last = windows[-1] if windows else None
        capacity_bps = last.capacity_bps if last else link.capacity_bps
        return LinkView(name, link.kind, capacity_bps, self._feed(windows, now_s), congested.get(name), last)

    def _feed(self, windows: Sequence[LinkUtilization], now_s: float) -> Feed:
        """Freshness first: what nobody tells any more cannot be trusted either way."""
        if not windows or now_s - _end_s(windows[-1]) > SILENT_WINDOWS * self._window_s:
            return "silent"
        if not windows[-1].counters:
            return "untrusted"
        recent = list(windows)[-GAP_SHOWN_WINDOWS:]
        missing = any(_end_s(one) < next_.window_start.timestamp() for one, next_ in pairwise(recent))
        return "gap" if missing else "live"

    def _happened(self, events: Iterable[Event]) -> None:
        known = {event.id for event in self._events}
        for event in events:
            if event.id not in known:
                self._events.append(event)
                self._new_events.append(event)


def _end_s(record: LinkUtilization) -> int:
    return round(record.window_start.timestamp()) + record.window_s


def _point(record: LinkUtilization) -> Point:
    loads = record.carried_bps, record.dropped_bps, record.natural_bps
    return Point(_end_s(record), record.capacity_bps, *loads)
