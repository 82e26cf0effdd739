"""The read model of one PoP: a bounded history of the output topics, and what changed since the last update."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from app.clock import utc
from app.config.inventory import Pop
from app.contract.schemas import (
    Actuation,
    ActuatorStatus,
    Congestion,
    Control,
    Decision,
    LinkUtilization,
    Sources,
)
from app.web.conditions import components, is_quiet, notices
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
from app.web.last_seen import LastSeen
from app.web.override_states import OverrideStates

HISTORY_S = 1800
EVENTS_MAX = 1000


class PopModel:
    """The read model of one PoP. Repeated records change nothing: windows, (epoch, seq) and ids identify them."""

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
        self._last = LastSeen(window_s)
        self._decisions: deque[DecisionView] = deque(maxlen=kept)
        self._states = OverrideStates()
        self._events: dict[str, PageEvent] = {}
        self._halt: Control | None = None
        self._sent_state: PopView | None = None
        self._sent_links: tuple[LinkView, ...] = ()
        self._sent_overrides: OverridesView | None = None
        self._begin_changes()

    def _begin_changes(self) -> None:
        self._new_windows: dict[str, list[Point]] = {}
        self._new_truth: dict[str, list[TruthPoint]] = {}
        self._new_events: deque[PageEvent] = deque(maxlen=EVENTS_MAX)

    def take_window(self, record: LinkUtilization) -> None:
        """Take a closed window; one that is not newer than the last of its link is a repeat."""
        windows = self._windows.get(record.link)
        if windows is None or (windows and record.window_start <= windows[-1].window_start):
            return
        windows.append(record)
        self._last.take_window(record)
        self._new_windows.setdefault(record.link, []).append(_point(record))

    def take_decision(self, decision: Decision) -> None:
        """Take a decision; one that is not newer than the last is a repeat, or of an earlier epoch."""
        before = self._last.decision
        if not self._last.take_decision(decision):
            return
        self._add_events(of_decision(decision, before))
        self._decisions.append(DecisionView.of(decision))

    def take_actuation(self, actuation: Actuation, is_recent: bool = True) -> None:
        """Take an actuation; the last action on a router is the state of its prefix there. An old one is no event."""
        self._states.take(actuation)
        if is_recent:
            self._add_events([of_actuation(actuation)])

    def take_sources(self, record: Sources) -> None:
        """Take which routers were heard; a record that is not newer than the last is a repeat."""
        self._last.take_sources(record)

    def take_status(self, status: ActuatorStatus) -> None:
        """Take a sign of life of the actuator."""
        self._last.take_status(status)

    def take_silent(self, topics: Collection[str]) -> None:
        """Take which topics nobody writes to at the moment."""
        self._last.take_silent(topics)

    def take_halt(self, order: Control | None) -> None:
        """Take the order that halts this PoP; None while it is not halted."""
        self._halt = order

    def take_truth(self, link: str, point: TruthPoint) -> None:
        """Take one second of the truth about a link of a simulated PoP."""
        if (points := self._truth.get(link)) is not None:
            points.append(point)
            self._new_truth.setdefault(link, []).append(point)

    def state(self, now_s: float) -> PopView:
        """Return the state of the PoP as a whole at `now_s`, Unix seconds."""
        seen, decision = self._last.seen(now_s), self._last.decision
        end_s = seen.window_end_s
        return PopView(
            halted=self._halt,
            egress_mismatch_share=decision.egress_mismatch_share if decision else None,
            barred=decision.barred if decision else None,
            quiet=end_s is not None and is_quiet(end_s, now_s, seen.window_s),
            told_until=None if end_s is None else utc(end_s),
            notices=notices(self.pop, seen),
            components=components(self.pop, seen),
        )

    def links(self, now_s: float) -> tuple[LinkView, ...]:
        """Return the state of every link at `now_s`, in the order of the inventory."""
        events = self._last.decision.congestion if self._last.decision else ()
        congested = {event.link: event for event in events if event.state != "closed"}
        return tuple(self._link(link, congested, now_s) for link in self.pop.links)

    def overrides(self) -> OverridesView | None:
        """Return the overrides of the newest decision; None before the first decision."""
        if (decision := self._last.decision) is None:
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
                OverrideView(override, self._states.of(decision.pop, override)) for override in decision.overrides
            ),
        )

    def decisions(self) -> list[DecisionView]:
        """Return the decisions of the history, newest first."""
        return list(reversed(self._decisions))

    def snapshot(self, now_s: float) -> Update:
        """Return the whole state, for a page that opens."""
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
        """Return what changed since the last call."""
        state, links, overrides = self.state(now_s), self.links(now_s), self.overrides()
        update = Update(
            pop=self.pop.name,
            now=utc(now_s),
            state=None if state == self._sent_state else state,
            links=None if links == self._sent_links else links,
            windows=self._new_windows,
            truth=self._new_truth,
            overrides=None if overrides == self._sent_overrides else overrides,
            events=list(self._new_events),
        )
        self._sent_state, self._sent_links, self._sent_overrides = state, links, overrides
        self._begin_changes()
        return update

    def _link(self, name: str, congested: dict[str, Congestion], now_s: float) -> LinkView:
        link, windows = self.pop.links[name], self._windows[name]
        last = windows[-1] if windows else None
        return LinkView(
            link=name,
            kind=link.kind,
            capacity_bps=last.capacity_bps if last else link.configured_bps,
            feed=last.feed if last else None,
            quiet=last is not None and is_quiet(_end_s(last), now_s, last.window_s),
            congestion=congested.get(name),
            window=last,
        )

    def _add_events(self, events: Iterable[PageEvent]) -> None:
        for event in events:
            if event.id not in self._events:
                self._events[event.id] = event
                self._new_events.append(event)
        while len(self._events) > EVENTS_MAX:
            del self._events[next(iter(self._events))]


def _end_s(record: LinkUtilization) -> int:
    return round(record.window_start.timestamp()) + record.window_s


def _point(record: LinkUtilization) -> Point:
    return Point(
        end_s=_end_s(record),
        capacity_bps=record.capacity_bps,
        carried_bps=record.carried_bps,
        dropped_bps=record.dropped_bps,
        natural_bps=record.natural_bps,
    )
