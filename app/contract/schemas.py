"""The records we publish. Their shape is a contract: `schema` names type and version, ids are stable."""

from datetime import datetime
from typing import Literal

import msgspec

Mode = Literal["observe", "dry-run", "auto"]
Feed = Literal["live", "silent", "gap", "untrusted"]


class Exit(msgspec.Struct, frozen=True):
    """Where an override sends a prefix: one live eBGP path of one router."""

    router: str
    link: str
    peer: str
    next_hop: str
    path_id: int = 0


class NaturalExit(msgspec.Struct, frozen=True):
    """Where plain BGP would send a prefix, and the share of the prefix's demand that would leave there."""

    router: str
    link: str
    share: float


class SourcePath(msgspec.Struct, frozen=True):
    """The attributes that an override copies from its source path."""

    as_path: tuple[int, ...]
    origin: Literal["igp", "egp", "incomplete"]
    med: int | None = None


class Override(msgspec.Struct, frozen=True):
    """One prefix that is moved: every router in `inject_on` gets a route for it."""

    prefix: str
    exit: Exit
    inject_on: tuple[str, ...]
    natural: tuple[NaturalExit, ...]
    source_path: SourcePath
    bps: float
    reason: str


class Congestion(msgspec.Struct, frozen=True):
    """A congested link. Loads are shares of capacity; `error` is the 95 % sampling error of the flow estimate."""

    id: str
    link: str
    state: Literal["opened", "open", "closed"]
    since: datetime
    carried: float
    dropped: float
    natural: float
    error: float


class Released(msgspec.Struct, frozen=True):
    """An override that is given back on purpose."""

    prefix: str
    reason: str


class Refused(msgspec.Struct, frozen=True):
    """A move that was wanted but not made. `prefix` is * for load above the goal that no prefix explains."""

    prefix: str
    link: str
    reason: str
    bps: float = 0.0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """All overrides that one PoP should have; a route goes only when released, at `hold_until` or if its path is lost.

    `closed_at` is Kafka's time of the purge marker that closed the window; any delay after it is ours.
    `egress_mismatch_share` is the share of the traffic we do not steer that left by another link than predicted.
    `barred`, if set, says why nothing new is moved in this PoP.
    """

    schema: Literal["decision/1"] = "decision/1"
    pop: str
    epoch: int
    seq: int
    mode: Mode
    window_start: datetime
    made_at: datetime
    add_until: datetime
    hold_until: datetime
    congestion: tuple[Congestion, ...] = ()
    overrides: tuple[Override, ...] = ()
    released: tuple[Released, ...] = ()
    refused: tuple[Refused, ...] = ()
    egress_mismatch_share: float = 0.0
    barred: str | None = None
    closed_at: datetime | None = None


class LinkUtilization(msgspec.Struct, frozen=True, kw_only=True):
    """One link in one closed window. Loads are in bits per second; divide by `capacity_bps` for shares.

    `feed` says whether the figures can be relied on: in a `gap` flows or counters are missing, `untrusted` ones
    contradict each other, and of a `silent` link nothing came, which does not mean that its load is zero. `flow_ratio`
    is the flow estimate over the counters.
    """

    schema: Literal["link-utilization/1"] = "link-utilization/1"
    id: str
    pop: str
    link: str
    window_start: datetime
    window_s: int
    capacity_bps: float
    carried_bps: float
    dropped_bps: float
    offered_bps: float
    natural_bps: float
    moved_in_bps: float
    moved_out_bps: float
    received_bps: float | None
    samples: int
    sampled_bytes: int
    error: float
    up: bool
    counters: bool
    feed: Feed = "live"
    flow_ratio: float | None = None


class RouterHeard(msgspec.Struct, frozen=True):
    """When a router was last heard by each kind of input, by Kafka's time; None means never.

    `bmp_statistics` says whether it sends BMP statistics reports, which serve as heartbeat of its BMP session. A
    `doubtful` router has been silent for too long: its routes may be out of date, so no move may lead to it.
    """

    flows: datetime | None = None
    counters: datetime | None = None
    bmp: datetime | None = None
    bmp_statistics: bool = False
    doubtful: bool = False


class Notice(msgspec.Struct, frozen=True):
    """What people should know of an input: `kind` is a fixed word, `where` a router, link or address."""

    kind: str
    where: str
    text: str


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Which routers of a PoP were heard when a window closed, and what is wrong with its inputs."""

    schema: Literal["sources/1"] = "sources/1"
    id: str
    pop: str
    window_start: datetime
    window_s: int
    routers: dict[str, RouterHeard]
    notices: tuple[Notice, ...] = ()


class PrefixShare(msgspec.Struct, frozen=True):
    """One destination prefix on a link: the flow estimate, the samples behind it and the prefix's origin AS."""

    prefix: str
    origin_as: int | None
    bps: float
    samples: int


class PrefixTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """The largest prefixes of one link in one closed window, largest first: for insight, planning and DDoS."""

    schema: Literal["prefix-traffic/1"] = "prefix-traffic/1"
    id: str
    pop: str
    link: str
    window_start: datetime
    window_s: int
    prefixes: tuple[PrefixShare, ...]


class Actuation(msgspec.Struct, frozen=True, kw_only=True):
    """What the actuator did to one router, or why it did not."""

    schema: Literal["actuation/1"] = "actuation/1"
    id: str
    pop: str
    router: str
    prefix: str
    action: Literal["announced", "confirmed", "withdrawn", "refused", "drift", "would-announce", "would-withdraw"]
    reason: str
    next_hop: str | None
    epoch: int
    seq: int
    at: datetime


class InjectorStatus(msgspec.Struct, frozen=True):
    """The gobgpd beside a router, as the actuator sees it.

    `held` and `wanted` are the routes of ours that it holds and should hold, `shown` those of them that its router has
    shown over BMP.
    """

    reachable: bool
    held: int
    wanted: int
    shown: int


class ActuatorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A sign of life from the actuator of a PoP, every few seconds.

    `halted_by` names the kill switches that are on: `control` (`autopilot halt`) and `file` (the halt file). `decision`
    is EPOCH.SEQ of the newest decision that it has read, None before the first.
    """

    schema: Literal["actuator-status/1"] = "actuator-status/1"
    id: str
    pop: str
    at: datetime
    mode: Mode
    halted_by: tuple[str, ...]
    decision: str | None
    injectors: dict[str, InjectorStatus]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order to halt or resume, keyed by PoP or `*` for all."""

    schema: Literal["control/1"] = "control/1"
    pop: str
    halt: bool
    by: str
    at: datetime


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that could not be used, where they came from, and why."""

    schema: Literal["dead-letter/1"] = "dead-letter/1"
    topic: str
    partition: int
    offset: int
    reason: str
    at: datetime
    raw: bytes


PUBLISHED = (Decision, LinkUtilization, PrefixTraffic, Sources, Actuation, ActuatorStatus, Control, DeadLetter)
