"""What the web view tells: the documents of its JSON API and of its stream of updates. Loads are bits per second."""

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from app.config.inventory import Kind
from app.contract.schemas import Congestion, Control, Decision, Feed, LinkUtilization, Mode, Override, Refused, Released


class Point(NamedTuple):
    """One window of a link, at its end in Unix seconds. What a silent link carried is not known: None, not zero."""

    end_s: int
    capacity_bps: float
    carried_bps: float | None
    dropped_bps: float | None
    natural_bps: float


class TruthPoint(NamedTuple):
    """What really left and what plain BGP would have sent, in the second that ends here (a simulated PoP only)."""

    end_s: float
    carried_bps: float
    dropped_bps: float
    natural_bps: float


class PopView(msgspec.Struct, frozen=True):
    """How the PoP stands: who halted it, how much traffic leaves where routing does not predict it, its last window.

    `barred` says why nothing new is moved, None where it may be.

    `quiet` says that nothing is told any more; `told_until` is the end of the newest window, None before the first.
    """

    halted: Control | None
    egress_mismatch_share: float | None
    barred: str | None
    quiet: bool
    told_until: datetime | None


class LinkView(msgspec.Struct, frozen=True):
    """One link now, with its newest window. `feed` is what that window said of itself, None before the first.

    `quiet` says that no window has been told for too long, whatever the last one said.
    """

    link: str
    kind: Kind
    capacity_bps: float
    feed: Feed | None
    quiet: bool
    congestion: Congestion | None
    window: LinkUtilization | None


class OverrideView(msgspec.Struct, frozen=True):
    """One override as decided, with the last action of the actuator by router."""

    override: Override
    routers: dict[str, str]


class OverridesView(msgspec.Struct, frozen=True):
    """What the newest decision wants, and until when it is held without another."""

    pop: str
    mode: Mode
    epoch: int
    seq: int
    window_start: datetime
    made_at: datetime
    hold_until: datetime
    overrides: tuple[OverrideView, ...]


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """A decision without its overrides, which it only counts."""

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
    egress_mismatch_share: float

    @classmethod
    def of(cls, decision: Decision) -> "DecisionView":
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
    """Something that happened, in one line: to a subject (a prefix or a link), what. Repeats have the same id.

    Events of one moment that say the same of many subjects may be shown as one.
    """

    id: str
    at: datetime
    kind: Literal["congestion", "relief", "move", "release", "refusal", "actuation"]
    subject: str
    what: str
    bps: float = 0.0


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is new in a PoP, or all of it when `full`. A part that is left out has not changed.

    Windows, truth and events may come twice; their ends and ids tell.
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
