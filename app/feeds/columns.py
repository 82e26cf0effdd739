"""Flow records as columns: a fetch brings ten thousand, which are alike but for a few numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.feeds.flows import Flow
from app.te.routing.lpm import Addresses
from app.te.traffic.demand import Numbers


class FlowSource(NamedTuple):
    """What flow records of one router, way in and way out have in common."""

    exporter: str
    iface_in: int
    iface_out: int
    sampling_rate: int


class FlowColumns(NamedTuple):
    """Records in columns; sizes are not scaled yet."""

    sources: list[FlowSource]
    source: Numbers  # place in `sources`
    at_s: Numbers
    destinations: Addresses
    samples: Numbers
    sizes_bytes: Numbers

    @property
    def newest_s(self) -> int:
        """Of the newest record, 0 where there is none."""
        return int(self.at_s.max(initial=0))


def flows_of(records: Sequence[Flow]) -> FlowColumns:
    """Of decoded records, each with a source of its own."""
    numbers = np.array([(flow.at_s, flow.samples, flow.size_bytes) for flow in records], dtype=np.int64).reshape(-1, 3)
    return FlowColumns(
        [FlowSource(flow.exporter, flow.iface_in, flow.iface_out, flow.sampling_rate) for flow in records],
        np.arange(len(records)),
        numbers[:, 0],
        Addresses.of(flow.destination for flow in records),
        numbers[:, 1],
        numbers[:, 2],
    )


def joined(one: FlowColumns, other: FlowColumns) -> FlowColumns:
    """The records of both."""
    return FlowColumns(
        [*one.sources, *other.sources],
        np.concatenate([one.source, other.source + len(one.sources)]),
        np.concatenate([one.at_s, other.at_s]),
        one.destinations.then(other.destinations),
        np.concatenate([one.samples, other.samples]),
        np.concatenate([one.sizes_bytes, other.sizes_bytes]),
    )
