"""Every Prometheus metric, declared once; docs/reference/metrics.md explains each and a test holds the two together.

Ages and what stands in memory are computed when they are scraped (app/gauges.py), so that they cannot go stale.
"""

from prometheus_client import Counter, Gauge, Histogram

LATENCIES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

LAG = Gauge("autopilot_consumer_lag_records", "Records of an input topic that were not applied yet", ["topic"])
DEAD_LETTERS = Counter("autopilot_dead_letters", "Records that could not be used", ["topic"])
FLUSH_SECONDS = Histogram("autopilot_flush_seconds", "Write, changelog, publish, acknowledge: one flush of one agent")

WATERMARK = Gauge("autopilot_watermark_seconds", "Unix time up to which the flows of a PoP are complete", ["pop"])
WATERMARK_AGE = Gauge("autopilot_watermark_age_seconds", "Since the time up to which flows are complete", ["pop"])
WINDOW_AGE = Gauge("autopilot_window_age_seconds", "Since the end of the last closed window", ["pop"])
FLOW_RECORDS = Gauge("autopilot_flow_records", "Flow records taken, ever", ["pop"])
COUNTED_BYTES = Gauge("autopilot_counted_bytes", "Sampled bytes in closed windows of links, scaled, ever", ["pop"])
LATE_BYTES = Gauge("autopilot_late_bytes", "Sampled bytes that came after their window was closed, ever", ["pop"])
LATE = Gauge("autopilot_late_ratio", "Late bytes, share of the sampled ones of the last minutes", ["pop"])
UNATTRIBUTED_BYTES = Gauge(
    "autopilot_unattributed_bytes", "Sampled bytes that belong to no link, ever, by reason", ["pop", "reason"]
)
UNATTRIBUTED = Gauge(
    "autopilot_unattributed_ratio",
    "Bytes that belong to no link, share of the sampled ones of the last minutes",
    ["pop"],
)
COUNTER_AGE = Gauge("autopilot_counter_age_seconds", "Since the last counter reading of a link", ["link"])

BMP_AGE = Gauge("autopilot_bmp_age_seconds", "Since the last BMP record of a router", ["pop", "router"])
BMP_PREFIXES = Gauge("autopilot_bmp_prefixes", "Prefixes held of a router", ["pop", "router"])
BMP_PEERS = Gauge("autopilot_bmp_peers", "Sessions of a router that are up", ["pop", "router"])

LINK_CARRIED = Gauge("autopilot_link_carried_ratio", "Carried load of a link, share of capacity", ["link"])
LINK_DROPPED = Gauge("autopilot_link_dropped_ratio", "Dropped load of a link, share of capacity", ["link"])
LINK_NATURAL = Gauge("autopilot_link_natural_ratio", "Load of a link without overrides, share of capacity", ["link"])
LINK_ERROR = Gauge("autopilot_link_error_ratio", "95 % sampling error of a link's flow estimate", ["link"])
LINK_FEED = Gauge(
    "autopilot_link_feed", "1 for the state that a link's feed is in, 0 for the others", ["link", "state"]
)

DECIDE_SECONDS = Histogram(
    "autopilot_decide_seconds", "From a window's close by its marker to its decision sent", ["pop"], buckets=LATENCIES_S
)
DECISIONS = Counter("autopilot_decisions", "Decisions made", ["pop"])
OVERRIDES = Gauge("autopilot_overrides", "Overrides that the last decision wants", ["pop"])
CONGESTED_LINKS = Gauge("autopilot_congested_links", "Links whose congestion is open", ["pop"])
EGRESS_MISMATCH = Gauge(
    "autopilot_egress_mismatch_ratio", "Share of the traffic that left by another link than predicted", ["pop"]
)

ANNOUNCE_SECONDS = Histogram(
    "autopilot_announce_seconds",
    "From a decision to its exit's injector that took the route",
    ["pop"],
    buckets=LATENCIES_S,
)
ROUTE_SECONDS = Histogram(
    "autopilot_route_seconds", "From a decision to every router of it showing the route", ["pop"], buckets=LATENCIES_S
)
DECISION_AGE = Gauge("autopilot_decision_age_seconds", "Since the newest decision that the actuator read", ["pop"])
HALTED = Gauge("autopilot_halted", "1 while a kill switch is on", ["pop"])
SPEAKER_UP = Gauge("autopilot_speaker_up", "1 while the gobgpd beside a router answers", ["pop", "router"])
ROUTES_HELD = Gauge("autopilot_routes_held", "Routes of ours in the gobgpd beside a router", ["pop", "router"])
ROUTES_DRIFT = Gauge("autopilot_routes_drift", "Routes that a gobgpd lacks, or holds and should not", ["pop", "router"])
ACTUATIONS = Counter("autopilot_actuations", "What was done to a router's injector", ["pop", "router", "action"])
REAPER_AGE = Gauge("autopilot_reaper_age_seconds", "Since the reaper looked last", ["pop"])

VIEW_PAGES = Gauge("autopilot_view_pages", "Open pages of the web view")
