"""What the simulator reports about its run: a snapshot for the live display, and a summary at the end."""

import msgspec
import numpy as np

from app.lab.pop.counterfactual import dropped_bytes
from app.lab.pop.engine import Engine
from app.lab.pop.exits import Floats
from app.lab.pop.scenario import Scenario
from app.lab.pop.sender import Account
from app.lab.pop.truth import stack


class LinkSnapshot(msgspec.Struct, frozen=True):
    """One link in the last tick; loads are shares of its capacity."""

    link: str
    carried: float
    dropped: float
    natural: float


class Snapshot(msgspec.Struct, frozen=True):
    """The state of the PoP in the last tick, `at_s` seconds after the start."""

    at_s: float
    links: tuple[LinkSnapshot, ...]
    overrides: int
    blackholed_bps: float
    loops: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What really happened in a whole run. Bytes are bytes of simulated traffic, peaks are shares of capacity."""

    duration_s: float
    wanted_bytes: int
    withheld_bytes: int = 0  # the part of them that elastic senders held back
    dropped_bytes: int
    dropped_bytes_without_overrides: int  # the same demand and deaths under plain BGP
    dropped_bytes_before_first_override: int
    first_override_s: float | None
    overrides_max: int
    overrides_left: int
    blackholed_bytes: int
    blackholed_bps_max: float
    looped_bytes: int
    loops: int
    last_loop_s: float | None = None  # when a loop was last seen, seconds since the start
    dead_end_bytes: int
    dead_ends: int
    transient_bytes: int  # lost because tables contradicted each other in a single read
    peak_natural: float
    peak_carried: float
    sampled_bytes: int  # frame length x sampling rate of every flow sample that the kernel took
    sampled_records: int
    datagrams: int
    datagrams_failed: int
    late_s: float


def snapshot(engine: Engine) -> Snapshot | None:
    """The state in the last tick; None before the first."""
    if not engine.log:
        return None
    last, capacity_bytes = engine.log[-1], _capacity_bytes(engine)
    shares = zip(
        *((load / capacity_bytes).tolist() for load in (last.carried, last.dropped, last.natural)), strict=True
    )
    return Snapshot(
        at_s=len(engine.log) * engine.tick_s,
        links=tuple(LinkSnapshot(link, *share) for link, share in zip(engine.sim.link_ids, shares, strict=True)),
        overrides=engine.overrides[-1],
        blackholed_bps=float(last.blackholed.sum()) * 8 / engine.tick_s,
        loops=engine.loops.count,
    )


def summarize(engine: Engine, scenario: Scenario, account: Account, late_s: float) -> Summary:
    """Summarize the run so far, which must be at least one tick long."""
    loads, capacity_bytes, ticks = stack(engine.log), _capacity_bytes(engine), len(engine.log)
    first = next((tick for tick, count in enumerate(engine.overrides) if count), None)
    without = dropped_bytes(engine.sim, scenario, engine.deaths, ticks, engine.tick_s)
    return Summary(
        duration_s=ticks * engine.tick_s,
        wanted_bytes=round(engine.wanted_bytes),
        withheld_bytes=round(engine.withheld_bytes),
        dropped_bytes=round(loads.dropped.sum()),
        dropped_bytes_without_overrides=round(without.sum()),
        dropped_bytes_before_first_override=round(loads.dropped[:first].sum()),
        first_override_s=None if first is None else first * engine.tick_s,
        overrides_max=max(engine.overrides),
        overrides_left=engine.overrides[-1],
        blackholed_bytes=round(loads.blackholed.sum()),
        blackholed_bps_max=float(loads.blackholed.sum(axis=1).max()) * 8 / engine.tick_s,
        looped_bytes=round(engine.loops.confirmed_bytes),
        loops=engine.loops.count,
        last_loop_s=engine.loops.last_s,
        dead_end_bytes=round(engine.dead_ends.confirmed_bytes),
        dead_ends=engine.dead_ends.count,
        transient_bytes=round(engine.loops.transient_bytes + engine.dead_ends.transient_bytes),
        peak_natural=float((loads.natural / capacity_bytes).max()),
        peak_carried=float((loads.carried / capacity_bytes).max()),
        sampled_bytes=account.sampled_bytes.total(),
        sampled_records=account.records.total(),
        datagrams=account.datagrams,
        datagrams_failed=account.datagrams_failed,
        late_s=late_s,
    )


def _capacity_bytes(engine: Engine) -> Floats:
    return np.asarray(engine.sim.capacity_bps * engine.tick_s / 8)
