"""Every Prometheus metric, declared once; docs/reference/metrics.md explains each, and a test compares the two.

Ages and counts of what is in memory are computed at each scrape (app/gauges.py), so that they cannot go stale.
"""

import collections
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

LATENCIES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

LAG = Gauge("autopilot_consumer_lag_records", "Records of an input topic that have not been applied yet", ["topic"])
UNPUBLISHED = Counter("autopilot_unpublished_records", "Records that were dropped instead of published", ["topic"])
DEAD_LETTERS = Counter("autopilot_dead_letters", "Records that could not be used", ["topic"])
MISSING = Counter("autopilot_missing_records", "Input records that retention removed before they were read", ["topic"])
UNDATED = Counter("autopilot_undated_records", "Input records whose time in Kafka no calendar has", ["topic"])
CONFIG = Gauge("autopilot_config_seconds", "Unix time since which the configuration of this hash is in use", ["hash"])
RELOADS = Counter("autopilot_config_reloads", "Times that the configuration was read again", ["result"])
CLOCK_OFFSET = Gauge("autopilot_clock_offset_seconds", "How far this host's clock is ahead of the broker's")
STATE_ROWS_LOST = Counter(
    "autopilot_state_rows_lost",
    "Starts at which the rows of a table were not all there, because its changelog had lost records.",
    ["table"],
)
STATE_SET_ASIDE = Counter(
    "autopilot_state_set_aside", "Local directories of tables that were not believed at a start", ["table", "reason"]
)
FLUSH_SECONDS = Histogram("autopilot_flush_seconds", "One flush of an agent: write, changelog, publish, acknowledge")

WATERMARK = Gauge("autopilot_watermark_seconds", "Unix time up to which the flows of a PoP are complete", ["pop"])
WATERMARK_AGE = Gauge("autopilot_watermark_age_seconds", "Age of the time up to which flows are complete", ["pop"])
WINDOW_AGE = Gauge("autopilot_window_age_seconds", "Time since the end of the last closed window", ["pop"])
FLOW_RECORDS = Gauge("autopilot_flow_records", "Flow records applied, ever", ["pop"])
COUNTED_BYTES = Gauge("autopilot_counted_bytes", "Sampled bytes, scaled, in closed windows of links, ever", ["pop"])
LATE_BYTES = Gauge("autopilot_late_bytes", "Sampled bytes that came after their window had closed, ever", ["pop"])
LATE = Gauge("autopilot_late_ratio", "Late bytes as a share of the bytes sampled in the last minutes", ["pop"])
UNATTRIBUTED_BYTES = Gauge(
    "autopilot_unattributed_bytes", "Sampled bytes that belong to no link, ever, by reason", ["pop", "reason"]
)
UNATTRIBUTED = Gauge(
    "autopilot_unattributed_ratio",
    "Bytes that belong to no link as a share of the bytes sampled in the last minutes",
    ["pop"],
)
COUNTER_AGE = Gauge("autopilot_counter_age_seconds", "Time since the last counter reading of a link", ["link"])

BMP_AGE = Gauge("autopilot_bmp_age_seconds", "Time since the last BMP record of a router", ["pop", "router"])
BMP_PREFIXES = Gauge("autopilot_bmp_prefixes", "Prefixes that a router has a path for", ["pop", "router"])
BMP_DOUBTFUL = Gauge(
    "autopilot_bmp_doubtful",
    "1 while the paths of a router may be out of date, so that no move leads to it",
    ["pop", "router"],
)
BMP_MISSING = Gauge("autopilot_bmp_missing_records", "Numbers that no record of a BMP collector had", ["pop"])
BMP_STEPS_BACK = Gauge(
    "autopilot_bmp_steps_back", "BMP records that came after one with a higher number of the same collector", ["pop"]
)
BMP_PEERS = Gauge("autopilot_bmp_peers", "BGP sessions of a router that are up", ["pop", "router"])

LINK_CARRIED = Gauge("autopilot_link_carried_ratio", "Carried load of a link, share of capacity", ["link"])
LINK_DROPPED = Gauge("autopilot_link_dropped_ratio", "Dropped load of a link, share of capacity", ["link"])
LINK_NATURAL = Gauge("autopilot_link_natural_ratio", "Load of a link without overrides, share of capacity", ["link"])
LINK_ERROR = Gauge("autopilot_link_error_ratio", "95 % sampling error of a link's flow estimate", ["link"])
OF_LINKS = (LINK_CARRIED, LINK_DROPPED, LINK_NATURAL, LINK_ERROR)
LINK_FEED = Gauge(
    "autopilot_link_feed", "1 for the state that a link's feed is in, 0 for the others", ["link", "state"]
)

DECIDE_SECONDS = Histogram(
    "autopilot_decide_seconds",
    "From the marker that closes a window to its decision",
    ["pop"],
    buckets=LATENCIES_S,
)
DECISIONS = Counter("autopilot_decisions", "Decisions made", ["pop"])
OVERRIDES = Gauge("autopilot_overrides", "Overrides in the last decision", ["pop"])
CONGESTED_LINKS = Gauge("autopilot_congested_links", "Links that are congested", ["pop"])
EGRESS_MISMATCH = Gauge(
    "autopilot_egress_mismatch_ratio", "Share of the traffic that left by another link than predicted", ["pop"]
)

ANNOUNCE_SECONDS = Histogram(
    "autopilot_announce_seconds",
    "From a decision until its exit's injector has the route",
    ["pop"],
    buckets=LATENCIES_S,
)
ROUTE_SECONDS = Histogram(
    "autopilot_route_seconds", "From a decision until all its routers show the route", ["pop"], buckets=LATENCIES_S
)
DECISION_AGE = Gauge("autopilot_decision_age_seconds", "Age of the last decision that was followed", ["pop"])
REFUSED = Counter(
    "autopilot_refused_records",
    "Decisions and orders that the actuator did not obey because of their signatures, by cause",
    ["topic", "cause"],
)
DECISIONS_IGNORED = Counter("autopilot_decisions_ignored", "Decisions that were not followed", ["pop", "reason"])
HALTED = Gauge("autopilot_halted", "1 while a kill switch is on", ["pop"])
SPEAKER_UP = Gauge("autopilot_speaker_up", "1 while the gobgpd beside a router answers", ["pop", "router"])
ROUTES_HELD = Gauge("autopilot_routes_held", "Our routes in the gobgpd beside a router", ["pop", "router"])
ROUTES_DRIFT = Gauge("autopilot_routes_drift", "Routes that a gobgpd lacks, or has and should not", ["pop", "router"])
ACTUATIONS = Counter("autopilot_actuations", "Actions at a router's injector", ["pop", "router", "action"])
LEASES_RENEWED = Counter(
    "autopilot_leases_renewed", "Routes sent again only with another end of their lease", ["pop", "router"]
)
REAPER_UP = Gauge("autopilot_reaper_up", "1 while a reaper looks after the gobgpd of a router", ["pop", "router"])
SPEAKER_OWNED = Gauge("autopilot_speaker_owned", "1 while a gobgpd is ours to write to", ["pop", "router"])

VIEW_PAGES = Gauge("autopilot_view_pages", "Open pages of the web view")
UNREAD_PARTITIONS = Gauge(
    "autopilot_unread_partitions", "Partitions of an input beyond its first, which nobody reads", ["topic"]
)
UNREADABLE = Gauge("autopilot_unreadable_records", "Records that the view or the actuator skipped", ["topic"])
NOTICES = Gauge("autopilot_notices", "What is wrong with a PoP at the moment, by kind", ["pop", "kind"])
COMPONENT_UP = Gauge(
    "autopilot_component_up",
    "1 while a part of a PoP is heard, 0 while it is not, NaN while that is unknown",
    ["pop", "router", "component"],
)

_kinds: dict[str, set[str]] = {}


def count_notices(pop: str, kinds: Iterable[str]) -> None:
    """Show how many notices of each kind a PoP has now; kinds that it had before are shown as 0."""
    counts, known = collections.Counter(kinds), _kinds.setdefault(pop, set())
    known.update(counts)
    for kind in known:
        NOTICES.labels(pop, kind).set(counts[kind])
