"""A link in one closed window, and its four loads. Values only, no behaviour."""

import msgspec

from app.contract.schemas import Feed
from app.te.traffic.counters import Rates
from app.te.traffic.demand import Demand
from app.te.traffic.windows import Sums


class LinkWindow(msgspec.Struct, frozen=True):
    """What was seen of one link in one closed window.

    `carried_bps` and `dropped_bps` come from counters and are None where no trusted counters exist.
    `sampled_bytes` is the sum of all demands; `unroutable_bytes` were sampled, too, but no route was known for them.
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
        """From what was sampled and, where there are any, counted; `configured_bps` where no port tells its speed."""
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
        """The flow estimate of the carried load, bits per second."""
        return 8 * self.sampled_bytes / self.window_s


class LinkLoad(msgspec.Struct, frozen=True):
    """The four loads of a link (bits per second), what our overrides move, and what its figures are worth."""

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
