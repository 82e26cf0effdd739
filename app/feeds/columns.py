"""Flow records as columns: a fetch returns ten thousand records, which differ in a few numbers only."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from app.feeds.flows import Flow
from app.te.routing.lpm import Addresses
from app.te.traffic.demand import Numbers


class FlowSource(NamedTuple):
    """The fields that flow records with the same router, input and output interface have in common."""

    exporter: str
    iface_in: int
    iface_out: int
    sampling_rate: int


class FlowColumns(NamedTuple):
    """Flow records as columns; sizes are not scaled by the sampling rate yet."""

    sources: list[FlowSource]
    source: Numbers  # place in `sources`
    at_s: Numbers
    destinations: Addresses
    samples: Numbers
    sizes_bytes: Numbers

    @property
    def newest_s(self) -> int:
        """The time of the newest record, unix seconds; 0 without records."""
        return int(self.at_s.max(initial=0))


def flows_of(records: Sequence[Flow]) -> FlowColumns:
    """The columns of decoded records. Each record gets its own entry in `sources`."""
    numbers = np.array([(flow.at_s, flow.samples, flow.size_bytes) for flow in records], dtype=np.int64).reshape(-1, 3)
    return FlowColumns(
        [FlowSource(flow.exporter, flow.iface_in, flow.iface_out, flow.sampling_rate) for flow in records],
        np.arange(len(records)),
        numbers[:, 0],
        _known(Addresses.of(flow.destination for flow in records)),
        numbers[:, 1],
        numbers[:, 2],
    )


def _known(destinations: Addresses) -> Addresses:
    """The same addresses, but 0.0.0.0 and :: are none: pmacct writes them for headers that it cannot read."""
    known = (destinations.high | destinations.low) != 0
    return destinations._replace(versions=destinations.versions * known)


def joined(first: FlowColumns, second: FlowColumns) -> FlowColumns:
    """The records of `first`, followed by those of `second`."""
    return FlowColumns(
        [*first.sources, *second.sources],
        np.concatenate([first.source, second.source + len(first.sources)]),
        np.concatenate([first.at_s, second.at_s]),
        first.destinations.then(second.destinations),
        np.concatenate([first.samples, second.samples]),
        np.concatenate([first.sizes_bytes, second.sizes_bytes]),
    )
