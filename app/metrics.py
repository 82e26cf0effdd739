"""Every Prometheus metric, declared once; docs/metrics.md explains each and a test holds the two together."""

from prometheus_client import Counter, Gauge, Histogram

WATERMARK = Gauge("autopilot_watermark_seconds", "Unix time up to which the flows of a PoP are complete", ["pop"])
FLOW_RECORDS = Gauge("autopilot_flow_records", "Flow records taken, ever", ["pop"])
COUNTED_BYTES = Gauge("autopilot_counted_bytes", "Sampled bytes in closed windows of links, scaled, ever", ["pop"])
LATE_BYTES = Gauge("autopilot_late_bytes", "Sampled bytes that came after their window was closed, ever", ["pop"])
UNATTRIBUTED_BYTES = Gauge(
    "autopilot_unattributed_bytes", "Sampled bytes that belong to no link, ever, by reason", ["pop", "reason"]
)
DEAD_LETTERS = Counter("autopilot_dead_letters", "Records that could not be used", ["topic"])
LINK_CARRIED = Gauge("autopilot_link_carried_ratio", "Carried load of a link, share of capacity", ["link"])
LINK_DROPPED = Gauge("autopilot_link_dropped_ratio", "Dropped load of a link, share of capacity", ["link"])
LINK_NATURAL = Gauge("autopilot_link_natural_ratio", "Load of a link without overrides, share of capacity", ["link"])
OVERRIDES = Gauge("autopilot_overrides", "Overrides that the last decision wants", ["pop"])
CONGESTED_LINKS = Gauge("autopilot_congested_links", "Links whose congestion is open", ["pop"])
FLUSH_SECONDS = Histogram("autopilot_flush_seconds", "Write, changelog, publish, acknowledge: one flush of one agent")
VIEW_PAGES = Gauge("autopilot_view_pages", "Open pages of the web view")
ACTUATIONS = Counter("autopilot_actuations", "What was done to a router's injector", ["pop", "router", "action"])
