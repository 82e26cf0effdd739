"""The records we publish. Their shape is a contract: `schema` names type and version, ids are stable.

They are bounded, because others can write to the topics, too: lengths of texts and lists, ranges of numbers, and times.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from app.contract.decoding import printable

OVERRIDES_MAX = 10_000  # of one decision
NAME_MAX = 512
YEARS = range(1970, 2200)
Name = Annotated[str, msgspec.Meta(max_length=NAME_MAX)]  # of a PoP, router or link, or an id
Address = Annotated[str, msgspec.Meta(max_length=64)]  # an IP address or a prefix
TEXT_MAX = 2000
Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Number = Annotated[float, msgspec.Meta(ge=-1e18, le=1e18)]
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
AtMost = msgspec.Meta(max_length=OVERRIDES_MAX)

Mode = Literal["observe", "dry-run", "auto"]
Feed = Literal["live", "silent", "gap", "untrusted"]


class Dated(msgspec.Struct, frozen=True):
    """A record whose times lie in YEARS: sums and differences of such times can be formed and printed."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.year not in YEARS:
                raise ValueError(f"{name} {value} is not a time between {YEARS.start} and {YEARS.stop}")


class Signed(Dated, frozen=True, kw_only=True):
    """A record that moves traffic. In Kafka it has one more field, `signature`, the last (app/contract/signing.py)."""


class Exit(msgspec.Struct, frozen=True):
    """Where an override sends a prefix: one live eBGP path of one router."""

    router: Name
    link: Name
    peer: Address
    next_hop: Address
    path_id: Uint32 = 0


class NaturalExit(msgspec.Struct, frozen=True):
    """Where plain BGP would send a prefix, and the share of the prefix's demand that would leave there."""

    router: Name
    link: Name
    share: Number


class SourcePath(msgspec.Struct, frozen=True):
    """The attributes that an override copies from its source path."""

    as_path: Annotated[tuple[Uint32, ...], msgspec.Meta(max_length=1024)]
    origin: Literal["igp", "egp", "incomplete"]
    med: Uint32 | None = None


class Override(msgspec.Struct, frozen=True):
    """One prefix that is moved: every router in `inject_on` gets a route for it."""

    prefix: Address
    exit: Exit
    inject_on: Annotated[tuple[Name, ...], AtMost]
    natural: Annotated[tuple[NaturalExit, ...], AtMost]
    source_path: SourcePath
    bps: Number
    reason: Text


class Congestion(Dated, frozen=True):
    """A congested link. Loads are shares of capacity; `error` is the 95 % sampling error of the flow estimate.

    `dropped` is null where no counters say it.
    """

    id: Name
    link: Name
    state: Literal["opened", "open", "closed"]
    since: Moment
    carried: Number
    dropped: Number | None
    natural: Number
    error: Number


class Released(msgspec.Struct, frozen=True):
    """An override that is given back on purpose."""

    prefix: Address
    reason: Text


class Refused(msgspec.Struct, frozen=True):
    """A move that was wanted but not made. `prefix` is * for load above the goal that no prefix explains."""

    prefix: Address
    link: Name
    reason: Text
    bps: Number = 0.0


class Decision(Signed, frozen=True, kw_only=True):
    """All overrides that one PoP should have; a route goes only when released, at `hold_until` or if its path is lost.

    `closed_at` is Kafka's time of the purge marker that closed the window; any delay after it is ours.
    `egress_mismatch_share` is the share of the traffic we do not steer that left by another link than predicted; null
    if there was none to judge by.
    `barred`, if set, says why nothing new is moved in this PoP. `window_s` is the length of the window; it may change.
    """

    schema: Literal["decision/1"] = "decision/1"
    pop: Name
    epoch: Uint32
    seq: Uint32
    mode: Mode
    window_start: Moment
    made_at: Moment
    add_until: Moment
    hold_until: Moment
    congestion: Annotated[tuple[Congestion, ...], AtMost] = ()
    overrides: Annotated[tuple[Override, ...], AtMost] = ()
    released: Annotated[tuple[Released, ...], AtMost] = ()
    refused: Annotated[tuple[Refused, ...], AtMost] = ()
    egress_mismatch_share: Number | None = None
    barred: Text | None = None
    closed_at: Moment | None = None
    window_s: Seconds | None = None


class LinkUtilization(Dated, frozen=True, kw_only=True):
    """One link in one closed window. Loads are in bits per second; divide by `capacity_bps` for shares.

    What is unknown is null, not 0: all loads of a `silent` link, drops without counters, a capacity that only silent
    ports could say. `capacity_bps` is what counts; `configured_bps` is the inventory's, and `reported_bps` that of the
    live ports by their ifSpeed.

    `feed` says whether the figures can be relied on: in a `gap` flows or counters are missing, `untrusted` ones
    contradict each other or are of another interface, and of a `silent` link nothing came, which does not mean that its
    load is zero. `flow_ratio` is the flow estimate over the counters. A `reason` says why no more can be said:
    `left-inventory` is the last record of a link that was taken out of the inventory while the window was open.
    """

    schema: Literal["link-utilization/1"] = "link-utilization/1"
    id: Name
    pop: Name
    link: Name
    window_start: Moment
    window_s: Seconds
    capacity_bps: Number | None
    carried_bps: Number | None
    dropped_bps: Number | None
    offered_bps: Number | None
    natural_bps: Number | None
    moved_in_bps: Number | None
    moved_out_bps: Number | None
    received_bps: Number | None
    samples: Count
    sampled_bytes: Count
    error: Number
    up: bool
    counters: bool
    feed: Feed = "live"
    flow_ratio: Number | None = None
    configured_bps: Number | None = None
    reported_bps: Number | None = None
    reason: Text | None = None


class RouterHeard(Dated, frozen=True):
    """When a router was last heard by each kind of input, by Kafka's time; None means never.

    `bmp_statistics` says whether it sends BMP statistics reports, which serve as heartbeat of its BMP session. A
    `doubtful` router has been silent for too long: its routes may be out of date, so no move may lead to it.
    """

    flows: Moment | None = None
    counters: Moment | None = None
    bmp: Moment | None = None
    bmp_statistics: bool = False
    doubtful: bool = False


class Notice(msgspec.Struct, frozen=True):
    """What people should know of an input: `kind` is a fixed word, `where` a router, link or address.

    Both `where` and `text` may quote what others chose, so they are made printable and cut here, once for every reader.
    """

    kind: Name
    where: Name
    text: Text

    def __post_init__(self) -> None:
        for key, text, chars_max in (("where", self.where, NAME_MAX), ("text", self.text, TEXT_MAX)):
            msgspec.structs.force_setattr(self, key, printable(text)[:chars_max])


class WorkerState(msgspec.Struct, frozen=True):
    """How a worker runs: with which configuration and since when, and how far its host's clock is wrong.

    `config` is a hash that workers with the same files share. `clock_ahead_s` is how far the clock of its host is ahead
    of the broker's, in seconds; None until that is known.
    """

    config: Name
    config_since: Moment
    clock_ahead_s: Number | None


class Sources(Dated, frozen=True, kw_only=True):
    """Which routers of a PoP were heard when a window closed, and what is wrong with its inputs."""

    schema: Literal["sources/1"] = "sources/1"
    id: Name
    pop: Name
    window_start: Moment
    window_s: Seconds
    routers: Annotated[dict[Name, RouterHeard], AtMost]
    notices: Annotated[tuple[Notice, ...], AtMost] = ()
    worker: WorkerState | None = None


class PrefixShare(msgspec.Struct, frozen=True):
    """One destination prefix on a link: the flow estimate, the samples behind it and the prefix's origin AS."""

    prefix: Address
    origin_as: Uint32 | None
    bps: Number
    samples: Count


class PrefixTraffic(Dated, frozen=True, kw_only=True):
    """The largest prefixes of one link in one closed window, largest first: for insight, planning and DDoS."""

    schema: Literal["prefix-traffic/1"] = "prefix-traffic/1"
    id: Name
    pop: Name
    link: Name
    window_start: Moment
    window_s: Seconds
    prefixes: Annotated[tuple[PrefixShare, ...], AtMost]


class Actuation(Dated, frozen=True, kw_only=True):
    """What the actuator did to one router, or why it did not."""

    schema: Literal["actuation/1"] = "actuation/1"
    id: Name
    pop: Name
    router: Name
    prefix: Address
    action: Literal["announced", "confirmed", "withdrawn", "refused", "drift", "would-announce", "would-withdraw"]
    reason: Text
    next_hop: Address | None
    epoch: Uint32
    seq: Uint32
    at: Moment


class InjectorStatus(msgspec.Struct, frozen=True):
    """The gobgpd beside a router, as the actuator sees it.

    `held` and `wanted` are the routes of ours that it holds and should hold, `shown` those of them that its router has
    shown over BMP. `holder` is another writer that owns it, if one does. `guarded` says whether an `autopilot reaper`
    looks after it, null while that is not known.
    """

    reachable: bool
    held: Count
    wanted: Count
    shown: Count
    holder: Text | None = None
    guarded: bool | None = None


class Refusals(Dated, frozen=True):
    """How many records of a topic the actuator refused for one cause since its start, and the time of the last."""

    topic: Name
    cause: Name
    records: Count
    last: Moment


class ActuatorStatus(Dated, frozen=True, kw_only=True):
    """A sign of life from the actuator of a PoP, every few seconds.

    `halted_by` names the kill switches that are on: `control` (`autopilot halt`) and `file` (the halt file). `decision`
    is EPOCH.SEQ of the newest decision that it has read, None before the first. `refusals` count what was not
    obeyed because of its signature.
    """

    schema: Literal["actuator-status/1"] = "actuator-status/1"
    id: Name
    pop: Name
    at: Moment
    mode: Mode
    halted_by: tuple[Name, ...]
    decision: Name | None
    injectors: dict[Name, InjectorStatus]
    worker: WorkerState | None = None
    refusals: tuple[Refusals, ...] = ()


class Control(Signed, frozen=True, kw_only=True):
    """An operator's order to halt or resume, keyed by PoP or `*` for all: by whom, when, and why."""

    schema: Literal["control/1"] = "control/1"
    pop: Name
    halt: bool
    by: Text
    at: Moment
    reason: Text | None = None


class DeadLetter(Dated, frozen=True, kw_only=True):
    """Bytes that could not be used, where they came from, and why.

    `index` is their line in a message of many, from 0 on: topic, partition, offset and index name a letter. `records`
    is for how many records it stands: beyond a limit the last letter of a message stands for all further lines.
    """

    schema: Literal["dead-letter/1"] = "dead-letter/1"
    topic: Name
    partition: Count
    offset: Count
    index: Count = 0
    records: Count = 1
    reason: Text
    at: Moment
    raw: Annotated[bytes, msgspec.Meta(max_length=128 * 1024)]


PUBLISHED = (Decision, LinkUtilization, PrefixTraffic, Sources, Actuation, ActuatorStatus, Control, DeadLetter)
