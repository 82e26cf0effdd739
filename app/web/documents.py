"""The documents of the web view's JSON API and of its stream of updates. Loads are in bits per second."""

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from app.config.inventory import Kind
from app.contract.schemas import (
    Congestion,
    Control,
    Decision,
    Feed,
    LinkUtilization,
    Mode,
    Notice,
    Override,
    Refused,
    Released,
)
from app.web.conditions import Component
from app.web.override_states import OverrideState


class Point(NamedTuple):
    """One window of a link, dated by its end in Unix seconds. What is unknown is None, not zero."""

    end_s: int
    capacity_bps: float | None
    carried_bps: float | None
    dropped_bps: float | None
    natural_bps: float | None


class TruthPoint(NamedTuple):
    """What a link really sent, and would have sent with plain BGP, in the second up to `end_s` (simulated PoP only)."""

    end_s: float
    carried_bps: float
    dropped_bps: float
    natural_bps: float


class PopView(msgspec.Struct, frozen=True):
    """The state of a PoP: who halted it, what share of its traffic leaves where routing does not predict it, its age.

    `barred` is the reason why no new moves are made, None if they are. `quiet` is true if no window was published for
    too long; `told_until` is the end of the newest window, None before the first. `notices` are what is wrong, and
    `components` the parts that it needs.
    """

    halted: Control | None
    egress_mismatch_share: float | None
    barred: str | None
    quiet: bool
    told_until: datetime | None
    notices: tuple[Notice, ...] = ()
    components: tuple[Component, ...] = ()


class LinkView(msgspec.Struct, frozen=True):
    """One link now, with its newest window. `feed` is the state of the feed in that window, None before the first.

    `quiet` is true if no window of the link was published for too long, whatever the state in the last one.
    """

    link: str
    kind: Kind
    capacity_bps: float | None
    feed: Feed | None
    quiet: bool
    congestion: Congestion | None
    window: LinkUtilization | None


class OverrideView(msgspec.Struct, frozen=True):
    """One override as decided, and how far the actuator has come with it."""

    override: Override
    progress: OverrideState


class OverridesView(msgspec.Struct, frozen=True):
    """The overrides of the newest decision, and until when they stay if no other decision follows."""

    pop: str
    mode: Mode
    epoch: int
    seq: int
    window_start: datetime
    made_at: datetime
    hold_until: datetime
    overrides: tuple[OverrideView, ...]


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """A decision without its overrides: only their number and their total load."""

    pop: str
    mode: Mode
    epoch: int
    seq: int
    window_start: datetime
    made_at: datetime
    overrides: int
    moved_bps: float
    congestion: tuple[Congestion, ...]
    released: tuple[Released, ...]
    refused: tuple[Refused, ...]
    egress_mismatch_share: float | None

    @classmethod
    def of(cls, decision: Decision) -> "DecisionView":
        """Return the summary of `decision`."""
        return cls(
            pop=decision.pop,
            mode=decision.mode,
            epoch=decision.epoch,
            seq=decision.seq,
            window_start=decision.window_start,
            made_at=decision.made_at,
            overrides=len(decision.overrides),
            moved_bps=sum(override.bps for override in decision.overrides),
            congestion=decision.congestion,
            released=decision.released,
            refused=decision.refused,
            egress_mismatch_share=decision.egress_mismatch_share,
        )


class PageEvent(msgspec.Struct, frozen=True):
    """One event for the page: what happened to a subject (a prefix or a link). Repeats have the same id.

    Events of the same moment with the same text for several subjects may be shown as one.
    """

    id: str
    at: datetime
    kind: Literal["congestion", "relief", "move", "release", "refusal", "actuation"]
    subject: str
    what: str
    bps: float = 0.0


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed in a PoP, or its whole state when `full`. A part that is left out has not changed.

    Windows, truth and events may be repeated: recognise repeats by their ends and ids.
    """

    pop: str
    now: datetime
    full: bool = False
    pops: tuple[str, ...] = ()
    enter_mark: float = 0.0
    mismatch_max: float = 0.0
    window_s: int = 0
    state: PopView | None = None
    links: tuple[LinkView, ...] | None = None
    windows: dict[str, list[Point]] = {}
    truth: dict[str, list[TruthPoint]] = {}
    overrides: OverridesView | None = None
    events: list[PageEvent] = []
