"""Flow messages in sfacctd's format, made fast and always the same, with the sums that must come out of them.

Every 2 s there is a purge, between its markers, with the records of the 2 s before it in any order. Prefixes follow a
power law; records have the keys of an `aggregate` with the five-tuple and the destination AS.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.bench import network
from tests.faults.traffic import marker

REFRESH_S, WINDOW_S = 2, 10
LAST_PURGES = 3  # without traffic: their watermark closes the last window
FLOWS = 300_000  # more than any cache of addresses in the programs holds
SKEW = 0.7  # of the power law: the first prefix has some 2 % of the bytes
BLOCK = 1000  # records that are made together
SIZES = tuple(range(64, 1516, 23))
RATE = 32768

Sums = dict[str, int]  # "agent/ifIndex@window start" -> bytes, scaled by the sampling rate


class Message(NamedTuple):
    """One Kafka message with its timestamp."""

    value: bytes
    at_ms: int


class Plan(msgspec.Struct, frozen=True):
    """What a topic holds. `marks` are numbers of records at which somebody may stop; `flows` are told apart by keys."""

    start_s: int
    windows: int
    a_purge: int  # records
    per_message: int
    marks: Sequence[int] = ()
    flows: int = FLOWS

    @property
    def span_s(self) -> int:
        return self.windows * WINDOW_S

    @property
    def purges(self) -> int:
        return self.span_s // REFRESH_S

    @property
    def records(self) -> int:
        return self.purges * self.a_purge


def blocks(records: float) -> int:
    """The nearest number of records, not zero, that is whole blocks."""
    return max(1, round(records / BLOCK)) * BLOCK


def key_of(agent: str, ifindex: int, start_s: int) -> str:
    return f"{agent}/{ifindex}@{start_s}"


def start_of(key: str) -> int:
    """The window's start in a key."""
    return int(key.rpartition("@")[2])


class Traffic:
    """Makes the messages of one plan, once; `expected` holds the sums at every mark that was passed and at the end."""

    def __init__(self, plan: Plan) -> None:
        assert BLOCK % plan.per_message == 0, "a block is whole messages"
        assert all(records % BLOCK == 0 for records in (plan.a_purge, *plan.marks)), "whole blocks"
        self.expected: dict[int, Sums] = {}
        self.octets: list[list[int]] = []  # by purge, by link, since the beginning
        self.plan = plan
        self._random = np.random.default_rng(1)
        self._bytes = np.zeros((plan.windows, network.LINKS), dtype=np.int64)
        self._done = 0
        weights = np.arange(1, network.PREFIXES + 1) ** -SKEW
        self._prefixes = self._random.choice(network.PREFIXES, plan.flows, p=weights / weights.sum())
        self._links = np.array([network.exits(prefix)[0] for prefix in range(network.PREFIXES)])[self._prefixes]
        self._heads = [self._head(*pair) for pair in zip(self._prefixes.tolist(), self._links.tolist(), strict=True)]

    def messages(self) -> Iterator[Message]:
        """All of them, markers included, in order."""
        for purge in range(1, self.plan.purges + LAST_PURGES + 1):
            at_s = self.plan.start_s + purge * REFRESH_S
            at_ms, writer = at_s * 1000, f"flows/{20000 + purge}"
            yield Message(marker("purge_init", writer), at_ms)
            records = self.plan.a_purge if purge <= self.plan.purges else 0
            if records:
                yield from (Message(value, at_ms) for value in self._purge(at_s, writer))
                self.octets.append(self._bytes.sum(axis=0).tolist())
            yield Message(marker("purge_close", writer, records), at_ms)
        self.expected[self._done] = self._sums()

    def _purge(self, at_s: int, writer: str) -> Iterator[bytes]:
        """The messages of one purge. Its records are of one window, for windows begin where purges do."""
        tails = [self._tail(second, size, writer) for second in range(at_s - REFRESH_S, at_s) for size in SIZES]
        window = (at_s - REFRESH_S - self.plan.start_s) // WINDOW_S
        scaled = np.array(SIZES * REFRESH_S, dtype=np.int64) * RATE
        heads, many = self._heads, self.plan.per_message
        for _ in range(self.plan.a_purge // BLOCK):
            flows = self._random.integers(0, self.plan.flows, BLOCK)
            kinds = self._random.integers(0, len(tails), BLOCK)
            self._count(window, self._links[flows], scaled[kinds])
            lines = [heads[flow] + tails[kind] for flow, kind in zip(flows.tolist(), kinds.tolist(), strict=True)]
            if many == 1:
                yield from lines
            else:
                yield from (b"\n".join([*lines[at : at + many], b""]) for at in range(0, BLOCK, many))

    def _count(self, window: int, links: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        np.add.at(self._bytes[window], links, sizes)
        self._done += len(links)
        if self._done in self.plan.marks:
            self.expected[self._done] = self._sums()

    def _sums(self) -> Sums:
        """Of what was made by now."""
        found = zip(*np.nonzero(self._bytes), strict=True)
        start_s = self.plan.start_s
        return {
            key_of(network.agent(link), network.ifindex(link), start_s + window * WINDOW_S): int(
                self._bytes[window, link]
            )
            for window, link in ((int(w), int(k)) for w, k in found)
        }

    def _head(self, prefix: int, link: int) -> bytes:
        """A record up to the second it is of."""
        ingress = network.ingress_ifindexes(link)
        pick = [int(number) for number in self._random.integers(0, 1 << 16, 4)]
        return (
            f'{{"event_type": "purge", "as_dst": {64600 + link}, "peer_ip_src": "{network.agent(link)}", '
            f'"iface_in": {ingress[pick[0] % len(ingress)]}, "iface_out": {network.ifindex(link)}, '
            f'"ip_src": "198.18.{pick[1] >> 8}.{pick[1] & 255}", '
            f'"ip_dst": "{network.address_in(prefix, 1 + pick[2] % 254)}", '
            f'"port_src": 443, "port_dst": {1024 + pick[3] % 60000}, "ip_proto": "tcp", '
            f'"sampling_rate": {RATE}, "timestamp_arrival": "'
        ).encode()

    @staticmethod
    def _tail(second: int, size: int, writer: str) -> bytes:
        return f'{second}.000000", "packets": 1, "bytes": {size}, "writer_id": "{writer}"}}'.encode()
