"""A link in one closed window, and its four loads. Values only, no behaviour."""

from functools import cached_property

import msgspec

from app.contract.schemas import Feed
from app.te.traffic.demand import Demands


class LinkWindow(msgspec.Struct, frozen=True, dict=True):
    """What was seen of one link in one closed window.

    `carried_bps` and `dropped_bps` come from counters and are None where no trusted counters exist.
    `unroutable_bytes` were sampled, too, but no route was known for them: they are in no demand.
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
    demands: Demands
    unroutable_bytes: int = 0

    @cached_property
    def flow_bps(self) -> float:
        """The flow estimate of the carried load, bits per second."""
        return 8 * int(self.demands.sizes_bytes.sum()) / self.window_s


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
