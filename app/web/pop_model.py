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
from app.web.conditions import QUIET_WINDOWS, Seen, components, notices
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
        self._decision: Decision | None = None
        self._decisions: deque[DecisionView] = deque(maxlen=kept)
        self._states = OverrideStates()
        self._sources: Sources | None = None
        self._status: ActuatorStatus | None = None
        self._silent: Collection[str] | None = None
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
        self._new_windows.setdefault(record.link, []).append(_point(record))

    def take_decision(self, decision: Decision) -> None:
        """Take a decision; one that is not newer than the last is a repeat, or of an earlier epoch."""
        last = self._decision
        if last and (decision.epoch, decision.seq) <= (last.epoch, last.seq):
            return
        self._add_events(of_decision(decision, last))
        self._decision = decision
        self._decisions.append(DecisionView.of(decision))

    def take_actuation(self, actuation: Actuation, is_recent: bool = True) -> None:
        """Take an actuation; the last action on a router is the state of its prefix there. An old one is no event."""
        self._states.take(actuation)
        if is_recent:
            self._add_events([of_actuation(actuation)])

    def take_sources(self, record: Sources) -> None:
        """Take which routers were heard; a record that is not newer than the last is a repeat."""
        if self._sources is None or record.window_start > self._sources.window_start:
            self._sources = record

    def take_status(self, status: ActuatorStatus) -> None:
        """Take a sign of life of the actuator."""
        if self._status is None or status.at > self._status.at:
            self._status = status

    def take_silent(self, topics: Collection[str]) -> None:
        """Take which topics nobody writes to at the moment."""
        self._silent = topics

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
        ends_s = [_end_s(windows[-1]) for windows in self._windows.values() if windows]
        seen = self._seen(max(ends_s, default=None), now_s)
        return PopView(
            halted=self._halt,
            egress_mismatch_share=self._decision.egress_mismatch_share if self._decision else None,
            barred=self._decision.barred if self._decision else None,
            quiet=self._is_quiet(max(ends_s), now_s) if ends_s else False,
            told_until=utc(max(ends_s)) if ends_s else None,
            notices=notices(self.pop, seen),
            components=components(self.pop, seen),
        )

    def _seen(self, end_s: float | None, now_s: float) -> Seen:
        mode = self._decision.mode if self._decision else None
        return Seen(now_s, self._window_s, self._sources, self._status, mode, end_s, self._silent)

    def links(self, now_s: float) -> tuple[LinkView, ...]:
        """Return the state of every link at `now_s`, in the order of the inventory."""
        events = self._decision.congestion if self._decision else ()
        congested = {event.link: event for event in events if event.state != "closed"}
        return tuple(self._link(link, congested, now_s) for link in self.pop.links)

    def overrides(self) -> OverridesView | None:
        """Return the overrides of the newest decision; None before the first decision."""
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
                OverrideView(
                    override,
                    self._states.routers(decision.pop, override.prefix),
                    self._states.of(decision.pop, override),
                )
                for override in decision.overrides
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
            quiet=last is not None and self._is_quiet(_end_s(last), now_s),
            congestion=congested.get(name),
            window=last,
        )

    def _is_quiet(self, end_s: int, now_s: float) -> bool:
        return now_s - end_s > QUIET_WINDOWS * self._window_s

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
    silent = record.feed == "silent"  # earlier records of silent links have zeros
    return Point(
        end_s=_end_s(record),
        capacity_bps=record.capacity_bps,
        carried_bps=None if silent else record.carried_bps,
        dropped_bps=None if silent else record.dropped_bps,
        natural_bps=record.natural_bps,
    )
