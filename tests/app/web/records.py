"""Records of the output topics for tests of the web view."""

from typing import Literal

from app.clock import utc
from app.contract.schemas import (
    Actuation,
    ActuatorStatus,
    Congestion,
    Decision,
    Exit,
    InjectorStatus,
    LinkUtilization,
    Mode,
    NaturalExit,
    Notice,
    Override,
    Refusals,
    Refused,
    Released,
    RouterHeard,
    SourcePath,
    Sources,
)

State = Literal["opened", "open", "closed"]
Action = Literal["announced", "confirmed", "withdrawn"]
POP = "rhv1000"
FULL, ROOMY = "rhv1000/r1/et-0/0/1", "rhv1000/r1/et-0/0/2"
PREFIX = "203.0.113.0/24"
WINDOW_S = 10
CAPACITY_BPS = 100e9


def window(
    start_s: int, link: str = FULL, *, carried: float = 0.5, dropped: float = 0.0, natural: float = 0.5, **changes: bool
) -> LinkUtilization:
    """One window; loads are shares of capacity."""
    carried_bps, dropped_bps = carried * CAPACITY_BPS, dropped * CAPACITY_BPS
    return LinkUtilization(
        id=f"{link}@{start_s}",
        pop=POP,
        link=link,
        window_start=utc(start_s),
        window_s=WINDOW_S,
        capacity_bps=CAPACITY_BPS,
        carried_bps=carried_bps,
        dropped_bps=dropped_bps,
        offered_bps=carried_bps + dropped_bps,
        natural_bps=natural * CAPACITY_BPS,
        moved_in_bps=0.0,
        moved_out_bps=0.0,
        received_bps=None,
        samples=2900,
        sampled_bytes=10**9,
        error=0.04,
        up=True,
        counters=changes.get("counters", True),
    )


def congestion(start_s: int, state: State = "opened") -> Congestion:
    return Congestion(
        id="c1", link=FULL, state=state, since=utc(start_s), carried=0.99, dropped=0.06, natural=1.12, error=0.04
    )


def override(prefix: str = PREFIX, next_hop: str = "198.51.100.2") -> Override:
    return Override(
        prefix=prefix,
        exit=Exit(router="r1", link=ROOMY, peer=next_hop, next_hop=next_hop),
        inject_on=("r1", "r2"),
        natural=(NaturalExit(router="r1", link=FULL, share=1.0),),
        source_path=SourcePath(as_path=(64602, 65010), origin="igp"),
        bps=12e9,
        reason="sheds-congested-link",
    )


def decision(
    seq: int,
    start_s: int,
    *,
    overrides: tuple[Override, ...] = (),
    congested: tuple[Congestion, ...] = (),
    released: tuple[Released, ...] = (),
    refused: tuple[Refused, ...] = (),
    epoch: int = 1,
) -> Decision:
    end_s = start_s + WINDOW_S
    return Decision(
        pop=POP,
        epoch=epoch,
        seq=seq,
        mode="auto",
        window_start=utc(start_s),
        made_at=utc(end_s + 4.5),
        add_until=utc(end_s + 30),
        hold_until=utc(end_s + 300),
        congestion=congested,
        overrides=overrides,
        released=released,
        refused=refused,
    )


def actuation(number: int, at_s: float, action: Action, router: str = "r1", prefix: str = PREFIX) -> Actuation:
    return Actuation(
        id=f"a{number}",
        pop=POP,
        router=router,
        prefix=prefix,
        action=action,
        reason="decided",
        next_hop="198.51.100.2",
        epoch=1,
        seq=1,
        at=utc(at_s),
    )


def status(
    at_s: float,
    *,
    mode: Mode = "auto",
    halted_by: tuple[str, ...] = (),
    down: tuple[str, ...] = (),
    refused_s: float | None = None,
) -> ActuatorStatus:
    """A sign of life of the actuator; the gobgpds of the routers `down` do not answer it."""
    refusals = () if refused_s is None else (Refusals("control", "unsigned", 3, utc(refused_s)),)
    injectors = {router: InjectorStatus(router not in down, 0, 0, 0) for router in ("r1", "r2")}
    return ActuatorStatus(
        id=f"{POP}@{at_s}",
        pop=POP,
        at=utc(at_s),
        mode=mode,
        halted_by=halted_by,
        decision="1.1",
        injectors=injectors,
        refusals=refusals,
    )


def heard(at_s: float, *, statistics: bool = True, doubtful: bool = False) -> RouterHeard:
    """A router that was heard by all inputs at this time."""
    at = utc(at_s)
    return RouterHeard(at, at, at, bmp_statistics=statistics, doubtful=doubtful)


def sources(start_s: int, *notices: Notice, **routers: RouterHeard) -> Sources:
    """The sources of one window; routers that are not given were heard at its end."""
    both = {"r1": heard(start_s + WINDOW_S), "r2": heard(start_s + WINDOW_S)} | routers
    return Sources(
        id=f"{POP}@{start_s}", pop=POP, window_start=utc(start_s), window_s=WINDOW_S, routers=both, notices=notices
    )
