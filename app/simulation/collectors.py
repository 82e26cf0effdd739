"""Stands in for sfacctd in a simulated run: flows between purge markers, counters, and a ledger of every byte sent.

Nothing that is sent depends on what the product counts: the ledger is the truth that its sums are checked against.
"""

import random
from collections import Counter

import msgspec

from app.contract import topics
from app.simulation.network import CAPACITY_BPS, PEERED, PREFIXES, SimulatedNetwork

WINDOW_S = 5
PURGE_S = 2.0
POLL_S = 2.5
RATE = 1000
PREFIX_BPS = 0.6 * CAPACITY_BPS / PEERED  # in calm times: the peering is at 60 %
UNKNOWN_IFINDEX = 999
SKEWED_S = 120.0
RENAMED = "-renamed"  # what the name of a link ends with once it was renamed in the inventory


class TruthLedger:
    """Bytes sent, scaled by the sampling rate: by (second, link), and for those without a link by reason."""

    def __init__(self) -> None:
        self.seconds: Counter[tuple[int, str]] = Counter()
        self.no_link: Counter[str] = Counter()
        self.bad_lines = 0

    @property
    def total(self) -> int:
        """All bytes sent, with and without a link."""
        return sum(self.seconds.values()) + sum(self.no_link.values())

    def sent(self, start_s: int, length_s: int, link: str) -> int:
        """The bytes that were sent for a link in a window, which may also have another name in the inventory."""
        name = link.removesuffix(RENAMED)
        return sum(self.seconds[second, name] for second in range(start_s, start_s + length_s))


class Collectors:
    """Sends the flows and counters of one PoP. `surge` is the factor on the demand of the peered prefixes."""

    def __init__(self, network: SimulatedNetwork, traffic: random.Random) -> None:
        self.network, self.pop, self.world = network, network.pop, network.world
        self.ledger = TruthLedger()
        self.surge = 1.0
        self.lying: dict[str, float] = {}  # by link, a factor on its reported flows
        self.odd = 0.0  # chance that a purge has late, skewed or unusable records
        self.slow = 0.0  # chance that a purge's data come seconds after its first marker
        self.mute = False  # counters are not polled
        self.stopped = False
        self._traffic = traffic
        self._weight = {prefix: traffic.uniform(0.6, 1.4) for prefix in PREFIXES}
        self._octets: Counter[str] = Counter()
        self._discards: Counter[str] = Counter()
        self._purges = 0
        self._sent_s = self.world.now_s
        self.world.every(PURGE_S, self._purge)
        self.world.every(POLL_S, self._poll)

    def _purge(self) -> None:
        """Send one purge: the flows since the last one, between their markers."""
        if self.stopped:
            return
        self._purges += 1
        writer = f"w/{self._purges}"
        self._marker("purge_init", writer)
        lines = self._lines(self._forward())
        if self._traffic.random() < self.odd:
            lines += self._odd_lines()
        data = b"\n".join(lines)
        delay_s = (
            self._traffic.uniform(1.0, 6.0)
            if self._traffic.random() < self.slow
            else self._traffic.choice((0.0, 0.0, 0.1))
        )
        topic = topics.FLOWS.for_pop(self.pop.name)
        self.world.after(delay_s, lambda: self.network.broker.append(topic, data))
        self.world.after(delay_s, lambda: self._marker("purge_close", writer))

    def _marker(self, kind: str, writer: str) -> None:
        raw = msgspec.json.encode({"event_type": kind, "writer_id": writer})
        self.network.broker.append(topics.FLOWS.for_pop(self.pop.name), raw)

    def _forward(self) -> dict[tuple[str, str, str], float]:
        """Bytes carried since the last call, by (link, ingress, prefix); ports count what full links drop."""
        since_s, self._sent_s = self.world.now_s - self._sent_s, self.world.now_s
        wanted: dict[tuple[str, str, str], float] = {}
        for index, prefix in enumerate(PREFIXES):
            ingress = "r1" if index % 3 else "r2"
            if (link := self.network.leaves_by(ingress, prefix)) is not None:
                surge = self.surge if index < PEERED else 1.0
                wanted[link, ingress, prefix] = PREFIX_BPS * surge * self._weight[prefix] * since_s / 8
        offered: Counter[str] = Counter()
        for (link, _, _), size_bytes in wanted.items():
            offered[link] += round(size_bytes)
        for link, size_bytes in offered.items():
            room = round((self.pop.links[link].configured_bps or 0.0) * since_s / 8)
            self._octets[link] += min(size_bytes, room)
            self._discards[link] += max(0, size_bytes - room) // RATE
        return {
            key: size_bytes * min(1.0, (self.pop.links[key[0]].configured_bps or 0.0) * since_s / 8 / offered[key[0]])
            for key, size_bytes in wanted.items()
        }

    def _lines(self, passed: dict[tuple[str, str, str], float]) -> list[bytes]:
        at_s = int(self.world.now_s) - 1
        lines = []
        for (link, ingress, prefix), size_bytes in passed.items():
            sampled_bytes = size_bytes * self.lying.get(link, 1.0) * self._traffic.uniform(0.97, 1.03)
            lines.append(self._line(link, ingress, prefix, at_s, max(1, round(sampled_bytes / RATE))))
        return lines

    def _line(self, link: str, ingress: str, prefix: str, at_s: float, size_bytes: int) -> bytes:
        definition = self.pop.links[link]
        router = self.pop.routers[definition.router]
        if at_s <= self.world.now_s + SKEWED_S / 2:
            self.ledger.seconds[int(at_s), link] += size_bytes * RATE
        else:
            self.ledger.no_link["clock-skew"] += size_bytes * RATE
        iface_in = 1 if ingress == router.name else router.core[ingress][0]
        return _flow(router.agent_address, iface_in, definition.ifindexes[0], prefix, at_s, size_bytes)

    def _odd_lines(self) -> list[bytes]:
        """Lines that are late by more than a window, from the future, of an unknown interface, and no record at all."""
        link, size_bytes = self._traffic.choice(list(self.pop.links)), self._traffic.randint(1, 10**6)
        lines = [
            self._line(link, "r1", PREFIXES[0], int(self.world.now_s) - self._traffic.choice((8, 15, 40)), size_bytes),
            self._line(link, "r1", PREFIXES[0], int(self.world.now_s + SKEWED_S), size_bytes),
            _flow("192.0.2.1", 1, UNKNOWN_IFINDEX, PREFIXES[0], int(self.world.now_s), size_bytes),
            b'{"event_type": "purge", "bytes": -1}',
        ]
        self.ledger.no_link["unknown-interface"] += size_bytes * RATE
        self.ledger.bad_lines += 1
        return lines

    def _poll(self) -> None:
        """Send a counter reading of every port."""
        self._traffic.random()
        if self.mute or self.stopped:
            return
        for name, link in self.pop.links.items():
            record = {
                "event_type": "log",
                "sf_cnt_type": "sflow_cnt_generic",
                "peer_ip_src": self.pop.routers[link.router].agent_address,
                "timestamp": f"{self._sent_s:.6f}",
                "ifIndex": link.ifindexes[0],
                "ifSpeed": int(link.configured_bps or 0),
                "ifStatus": 3,
                "ifInOctets": 0,
                "ifOutOctets": self._octets[name],
                "ifOutUcastPkts": self._octets[name] // RATE,
                "ifOutDiscards": self._discards[name],
            }
            self.network.broker.append(topics.COUNTERS.for_pop(self.pop.name), msgspec.json.encode(record))


def _flow(exporter: str, iface_in: int, iface_out: int, prefix: str, at_s: float, size_bytes: int) -> bytes:
    return msgspec.json.encode(
        {
            "event_type": "purge",
            "peer_ip_src": exporter,
            "iface_in": iface_in,
            "iface_out": iface_out,
            "ip_dst": prefix.replace(".0/24", ".9"),
            "timestamp_arrival": f"{at_s:.6f}",
            "sampling_rate": RATE,
            "packets": max(1, size_bytes // 1000),
            "bytes": size_bytes,
        }
    )
