"""One link in one closed window, and its four loads. Plain values without behaviour."""

import msgspec

from app.contract.schemas import Feed
from app.te.traffic.counters import Rates
from app.te.traffic.demand import Demand
from app.te.traffic.windows import Sums


class LinkWindow(msgspec.Struct, frozen=True):
    """What was measured on one link in one closed window.

    `carried_bps`, `dropped_bps` and `received_bps` come from counters; they are None if there are no reliable ones.
    `sampled_bytes` is the sum of `demand`; `unroutable_bytes` were sampled too, but no route was known for them.
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

    @classmethod
    def of(
        cls, link: str, configured_bps: float, start_s: int, length_s: int, seen: Sums, rates: Rates | None
    ) -> "LinkWindow":
        """A window from sampled flows and counter rates; without a port speed, `configured_bps` is the capacity."""
        return cls(
            link=link,
            window_start_s=start_s,
            window_s=length_s,
            capacity_bps=(rates.capacity_bps if rates else 0.0) or configured_bps,
            carried_bps=rates.carried_bps if rates else None,
            dropped_bps=rates.dropped_bps if rates else None,
            received_bps=rates.received_bps if rates else None,
            up=rates.up if rates else True,
            samples=seen.samples,
            demand=seen.demand,
            sampled_bytes=seen.size_bytes,
            unroutable_bytes=seen.unroutable_bytes,
        )

    @property
    def flow_bps(self) -> float:
        """The carried load as estimated from sampled flows, in bits per second."""
        return 8 * self.sampled_bytes / self.window_s


class LinkLoad(msgspec.Struct, frozen=True):
    """The four loads of a link, the load that overrides move in and out (bits per second), and the state of its feed.

    `error_share` is the 95 % sampling error of the flow estimate, `flow_ratio` that estimate divided by the counters.
    """

    link: str
    capacity_bps: float
    carried_bps: float
    dropped_bps: float
    offered_bps: float
    natural_bps: float
    moved_in_bps: float
    moved_out_bps: float
    samples: int
    error_share: float
    saturated: bool
    feed: Feed = "live"
    flow_ratio: float | None = None
