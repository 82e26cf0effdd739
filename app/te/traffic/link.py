"""One link in one closed window, and its four loads. Plain values without behaviour."""

import msgspec

from app.contract.schemas import Feed
from app.te.traffic.demand import Demand
from app.te.traffic.lag import Rates
from app.te.traffic.level import SLACK, FlowLevel, Level, level_of, settled_by
from app.te.traffic.windows import Sums


class LinkWindow(msgspec.Struct, frozen=True):
    """What was measured on one link in one closed window.

    `carried_bps`, `dropped_bps` and `received_bps` come from counters; they are None if there are no reliable ones.
    `unconfirmed_bps` are drops that only one reading shows. `capacity_bps` is what counts, 0 if unknown;
    `last_bps` is the load that counters last showed, if the next reading is not due yet.
    `configured_bps` is the inventory's, `reported_bps` that of the live ports by their ifSpeed. `counters_heard` says
    whether any counters of the link were ever read. `sampled_bytes` is the sum of `demand`; `unroutable_bytes` were
    sampled too, but no route was known for them. `heaviest_share` is the share of the bytes that is due to one sample.
    If it `has_gap`, records of the window were removed from Kafka before they were read.
    """

    link: str
    window_start_s: int
    window_s: int
    capacity_bps: float
    carried_bps: float | None
    dropped_bps: float | None
    received_bps: float | None
    up: bool
    samples: int
    demand: Demand
    sampled_bytes: int
    unroutable_bytes: int = 0
    unconfirmed_bps: float = 0.0
    configured_bps: float | None = None
    reported_bps: float | None = None
    counters_heard: bool = False
    last_bps: float | None = None
    heaviest_share: float = 0.0
    renumbered: bool = False
    has_gap: bool = False

    @classmethod
    def of(
        cls, link: str, configured_bps: float | None, start_s: int, length_s: int, seen: Sums, rates: Rates | None
    ) -> "LinkWindow":
        """A window from sampled flows and counter rates; the counters alone say the capacity if none is configured."""
        sampled_bytes = seen.size_bytes + seen.unroutable_bytes
        heaviest_share = seen.heaviest_bytes / max(sampled_bytes, 1)
        flows = FlowLevel(8 * sampled_bytes / length_s, seen.samples, heaviest_share)
        if rates is not None and not rates.up and not rates.carried_bps and flows.is_precise:
            rates = msgspec.structs.replace(rates, up=True, carried_bps=None, dropped_bps=None, last_bps=None)  # a stub
        best = settled_by(rates, flows) if rates else None
        level = level_of(best, flows, configured_bps) if best else Level(None, None, 0.0, configured_bps or 0.0)
        return cls(
            link=link,
            window_start_s=start_s,
            window_s=length_s,
            capacity_bps=level.capacity_bps,
            carried_bps=level.carried_bps,
            dropped_bps=level.dropped_bps,
            received_bps=best.received_bps if best else None,
            up=best.up if best else True,
            samples=seen.samples,
            heaviest_share=heaviest_share,
            demand=seen.demand,
            sampled_bytes=seen.size_bytes,
            unroutable_bytes=seen.unroutable_bytes,
            unconfirmed_bps=level.unconfirmed_bps,
            configured_bps=configured_bps,
            reported_bps=(best.capacity_bps or None) if best else None,
            counters_heard=best is not None,
            last_bps=best.last_bps if best else None,
            renumbered=best is not None and best.renumbered,
        )

    @property
    def window_end_s(self) -> int:
        """The end of the window, unix seconds."""
        return self.window_start_s + self.window_s

    @property
    def is_bridged(self) -> bool:
        """Whether flows bridge a gap between two polls: they are precise, and near what counters last showed."""
        if self.carried_bps is not None or self.last_bps is None:
            return False
        flows = self.flows
        error_bps, slack_bps = flows.high_bps - flows.bps, SLACK * self.capacity_bps
        return error_bps <= slack_bps and abs(self.last_bps - flows.bps) <= slack_bps + error_bps

    @property
    def is_silent(self) -> bool:
        """Whether nothing came from this link: neither counters nor flows. Its load then is unknown, not zero."""
        nothing = self.carried_bps is None and not self.sampled_bytes + self.unroutable_bytes
        return nothing and not self.is_bridged

    @property
    def flows(self) -> FlowLevel:
        """What the flows with a route say of the carried load."""
        return FlowLevel(self.flow_bps, self.samples, self.heaviest_share)

    @property
    def flow_bps(self) -> float:
        """The carried load as estimated from sampled flows, in bits per second."""
        return 8 * self.sampled_bytes / self.window_s


class LinkLoad(msgspec.Struct, frozen=True):
    """The four loads of a link, the load that overrides move in and out (bits per second), and the state of its feed.

    What is unknown is None: drops without counters, and the loads of a silent link, but for what was seen of its
    traffic on other links.
    `error_share` is the 95 % sampling error of the flow estimate, `flow_ratio` that estimate divided by the counters. A
    `capacity_bps` of 0 is unknown. `renumbered` says that its interfaces seem to have other numbers now.
    """

    link: str
    capacity_bps: float
    carried_bps: float | None
    dropped_bps: float | None
    offered_bps: float | None
    natural_bps: float | None
    moved_in_bps: float | None
    moved_out_bps: float | None
    samples: int
    error_share: float
    saturated: bool
    feed: Feed = "live"
    flow_ratio: float | None = None
    renumbered: bool = False
