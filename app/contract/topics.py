"""Every Kafka topic in one table: name, key, partitions, retention, writers, readers, and what is in it.

Topics are created from this table and checked against it; nothing relies on auto-creation. docs/reference/topics.md is
generated from it: `python -m app.contract.docs`. Who may do what at the broker follows from it, too (identities.py).
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

HOUR_MS = 3_600_000
RECORD_BYTES_MAX = 900_000  # with its envelope below what brokers and producers take by default
# A decision is one record, however many overrides it has: 10,000 with long AS paths have 12 MB.
DECISION_BYTES_MAX = 12_500_000
ENVELOPE_BYTES = 64 * 1024  # what Kafka adds to a record, and some room
# A worker that was frozen may write an old row after its successor's newer one. Compaction must not drop the newer one
# before both have been read: the rows show which is newer (tables/store.py).
CHANGELOG_CONFIG = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(24 * HOUR_MS)}
TABLES = {"telemetry": ("congestion", "interfaces", "link_windows", "rib"), "actuator": ("rib",)}

# sfacctd and pmbmpd are the collectors, operator is the command line, consumer is whoever reads our outputs.
Component = Literal["sfacctd", "pmbmpd", "telemetry", "actuator", "view", "operator", "consumer"]


class Topic(msgspec.Struct, frozen=True):
    """One topic; if `name` contains `<pop>`, one topic per PoP. `schema` is None for records that are not ours.

    With `broker_time` the broker writes its own time into each record, in place of its writer's. `watchers` see where
    it begins and ends, and when something was written, but none of its records.
    """

    name: str
    key: str
    partitions: int
    retention_ms: int
    cleanup: str
    writers: tuple[Component, ...]
    readers: tuple[Component, ...]
    record: str = ""
    schema: str | None = None
    broker_time: bool = False
    record_bytes_max: int = RECORD_BYTES_MAX
    watchers: tuple[Component, ...] = ()

    def for_pop(self, pop: str) -> str:
        """The real name of this topic for one PoP."""
        return self.name.replace("<pop>", pop)

    @property
    def config(self) -> dict[str, str]:
        """Topic configuration as the broker names it."""
        config = {"cleanup.policy": self.cleanup, "retention.ms": str(self.retention_ms)}
        if "compact" in self.cleanup:
            config["segment.ms"] = str(HOUR_MS)
        if self.cleanup == "compact":  # or what anybody writes under a key could soon take away the order before it
            config["min.compaction.lag.ms"] = str(self.retention_ms)
        if self.broker_time:
            config["message.timestamp.type"] = "LogAppendTime"
        if self.record_bytes_max > RECORD_BYTES_MAX:
            config["max.message.bytes"] = str(self.record_bytes_max + ENVELOPE_BYTES)
        return config


FLOWS = Topic(
    "sfacctd-flows-<pop>",
    "none",
    1,
    24 * HOUR_MS,
    "delete",
    ("sfacctd",),
    ("telemetry", "operator"),
    "pmacct JSON lines, many per message, and a pair of purge markers per refresh: the feed's heartbeat",
    watchers=("view",),
)
COUNTERS = Topic(
    "sfacctd-counters-<pop>",
    "none",
    1,
    24 * HOUR_MS,
    "delete",
    ("sfacctd",),
    ("telemetry", "operator"),
    "pmacct JSON, one sFlow counter sample per message",
)
BMP = Topic(
    "bmp-<pop>",
    "router",
    1,
    72 * HOUR_MS,
    "delete",
    ("pmbmpd",),
    ("telemetry", "actuator", "operator"),
    "pmacct JSON, one BMP message per record",
    watchers=("view",),
)
DECISIONS = Topic(
    "decisions-<pop>",
    "pop",
    1,
    24 * HOUR_MS,
    "compact,delete",
    ("telemetry",),
    ("actuator", "view", "operator", "consumer"),
    "the whole desired set of overrides, with congestion, releases and refusals",
    "decision/1",
    broker_time=True,
    record_bytes_max=DECISION_BYTES_MAX,
)
LINK_UTILIZATION = Topic(
    "link-utilization",
    "pop",
    1,
    168 * HOUR_MS,
    "delete",
    ("telemetry",),
    ("view", "operator", "consumer"),
    "one link in one closed window",
    "link-utilization/1",
)
PREFIX_TRAFFIC = Topic(
    "prefix-traffic",
    "pop",
    1,
    24 * HOUR_MS,
    "delete",
    ("telemetry",),
    ("operator", "consumer"),
    "the largest prefixes of one link in one closed window",
    "prefix-traffic/1",
)
SOURCES = Topic(
    "sources",
    "pop",
    1,
    24 * HOUR_MS,
    "delete",
    ("telemetry",),
    ("view", "operator", "consumer"),
    "when each router of a PoP was last heard, and what is wrong with its inputs",
    "sources/1",
)
ACTUATIONS = Topic(
    "actuations",
    "pop",
    1,
    720 * HOUR_MS,
    "delete",
    ("actuator",),
    ("view", "operator", "consumer"),
    "what was done to one router, or was not, and why",
    "actuation/1",
)
ACTUATOR_STATUS = Topic(
    "actuator-status",
    "pop",
    1,
    24 * HOUR_MS,
    "delete",
    ("actuator",),
    ("view", "operator", "consumer"),
    "a sign of life every 5 s: mode, kill switches, and what each gobgpd holds",
    "actuator-status/1",
)
CONTROL = Topic(
    "control",
    "pop or *",
    1,
    720 * HOUR_MS,
    "compact",
    ("operator",),
    ("actuator", "view", "operator"),
    "an operator's order: halt or resume",
    "control/1",
    broker_time=True,
)
DEAD_LETTERS = Topic(
    "dead-letters",
    "source topic",
    1,
    168 * HOUR_MS,
    "delete",
    ("telemetry", "actuator"),
    ("operator",),
    "bytes that could not be used, and why",
    "dead-letter/1",
)
CLOCK = Topic(
    "clock",
    "none",
    1,
    24 * HOUR_MS,
    "delete",
    ("telemetry", "actuator", "operator"),
    (),
    "nothing: the broker's confirmation says its time, by which its writer knows how wrong its own clock is",
    broker_time=True,
)

INPUTS = (FLOWS, COUNTERS, BMP)
ALL = (
    *INPUTS,
    DECISIONS,
    LINK_UTILIZATION,
    PREFIX_TRAFFIC,
    SOURCES,
    ACTUATIONS,
    ACTUATOR_STATUS,
    CONTROL,
    DEAD_LETTERS,
    CLOCK,
)


def app_id(worker: str, cell: str) -> str:
    """The id of a worker's Faust app: its consumer group, and the beginning of the names of its changelogs."""
    return f"autopilot-{worker}-{cell}"


def changelogs(worker: str, cell: str) -> list[str]:
    """The changelogs of a worker's tables, which it creates itself."""
    return [f"{app_id(worker, cell)}-{table}-changelog" for table in TABLES[worker]]


def record_bytes_max(name: str) -> int:
    """How large a record may be that is published to the topic of this name."""
    return DECISION_BYTES_MAX if name.startswith(DECISIONS.for_pop("")) else RECORD_BYTES_MAX


def named(pops: Iterable[str]) -> dict[str, Topic]:
    """The real topic names for these PoPs, each with its definition."""
    names = list(pops)
    per_pop = {topic.for_pop(pop): topic for topic in ALL if "<pop>" in topic.name for pop in names}
    return per_pop | {topic.name: topic for topic in ALL if "<pop>" not in topic.name}
