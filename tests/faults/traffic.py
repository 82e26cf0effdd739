"""Flow messages in sfacctd's exact format, each entered into the ledger as it is made. Seeded, no I/O, no clock.

Some of everything is always in: several ingresses, records out of order within the grace, late ones, and bytes that
belong to no link, with each reason that a flow record alone can have.
"""

import ipaddress
import json
import random
from collections import Counter
from collections.abc import Callable

import msgspec

from app.config.inventory import Pop, Session
from app.config.thresholds import WindowSettings
from tests.faults.ledger import Ledger
from tests.pops import capacity_bps

PACKET_BYTES = (64, 1000)
PREFIXES = tuple(f"20.0.{number}.0/24" for number in range(40))
ANCIENT_S = 3600
LONGEST_S = 4  # of all windows that a row of faults configures
DISORDER_S = 0.9  # how much older than its purge a record may be; the rest of the grace is cut off by whole seconds


class Mix(msgspec.Struct):
    """What the traffic is made of; rows of faults change it while it flows."""

    late_share: float = 0.01
    odd_share: float = 0.04  # of bytes that belong to no link
    rates: tuple[int, ...] = (32768,)
    renumbered: dict[tuple[str, int], int] = {}  # (router, ifIndex) -> the index that it has now
    skew_s: float = 0.0  # of the collector's clock, in its records


class Traffic:
    """Makes the messages of one PoP. `carried` are octets by link, for the counters."""

    def __init__(self, pop: Pop, windows: WindowSettings, seed: str) -> None:
        self.ledger = Ledger()
        self.mix = Mix()
        self.carried: Counter[str] = Counter()
        self.pop = pop
        self._windows = windows
        self._random = random.Random(seed)
        self._odd: tuple[Callable[[dict[str, object]], str], ...] = (
            self._unknown_interface,
            self._special_interface,
            self._unknown_router,
            self._unknown_rate,
            self._unknown_ingress,
        )

    def message(self, writer: str, purged_s: float, closed_s: float, records: int, copies: int = 1) -> bytes:
        """Records of one purge; windows that end by `closed_s` are closed already whatever the worker does.

        The message will be sent `copies` times, and as often it is in the ledger.
        """
        before = self._random.getstate()
        for _ in range(copies):
            self._random.setstate(before)
            lines = [self._line(writer, purged_s, closed_s) for _ in range(records)]
        return b"\n".join([*lines, b""])

    def _line(self, writer: str, purged_s: float, closed_s: float) -> bytes:
        kind = self._random.random()
        at_s = purged_s - self._random.uniform(0, self._windows.refresh_s + DISORDER_S)
        if kind < self.mix.late_share:
            record = self._late(closed_s)
        elif kind < self.mix.late_share + self.mix.odd_share:
            record = self._odd_one(at_s)
        else:
            record = self._good(at_s)
        self.ledger.records += 1
        return json.dumps(record | {"writer_id": writer}).encode()

    def _record(self, at_s: float) -> tuple[dict[str, object], str, str, str, int]:
        """(record, link, ingress, prefix, scaled bytes) of traffic that is as it should be."""
        links = self.pop.links
        # Each port has the same load, and always less than it can carry: counters that say more are not believed.
        [name] = self._random.choices(list(links), [capacity_bps(link) for link in links.values()])
        link = links[name]
        router = self.pop.routers[link.router]
        ways = [(router.name, router.internal_ifindexes), *router.core.items()]
        ingress, (index, *_) = self._random.choice(ways)
        prefix = self._random.choice(PREFIXES)
        size_bytes, rate = self._random.randint(*PACKET_BYTES), self._random.choice(self.mix.rates)
        out = link.ifindexes[0]
        record: dict[str, object] = {
            "event_type": "purge",
            "peer_ip_src": router.agent_address,
            "iface_in": index,
            "iface_out": self.mix.renumbered.get((router.name, out), out),
            "ip_dst": str(ipaddress.ip_network(prefix)[self._random.randint(1, 254)]),
            "sampling_rate": rate,
            "timestamp_arrival": f"{int(at_s + self.mix.skew_s)}.000000",
            "packets": 1,
            "bytes": size_bytes,
        }
        return record, name, ingress, prefix, size_bytes * rate

    def _good(self, at_s: float) -> dict[str, object]:
        record, link, ingress, prefix, size_bytes = self._record(at_s)
        self.carried[link] += size_bytes
        if (self.pop.links[link].router, self.pop.links[link].ifindexes[0]) in self.mix.renumbered:
            self.ledger.unattributed["unknown-interface"] += size_bytes
        elif self.mix.skew_s > 0:
            self.ledger.unattributed["clock-skew"] += size_bytes
        elif self.mix.skew_s < 0:
            self.ledger.late_bytes += size_bytes
        else:
            self.ledger.demand[self.ledger.slot(link, at_s)][f"{ingress} {prefix}"] += size_bytes
        return record

    def _late(self, closed_s: float) -> dict[str, object]:
        """Of an hour ago, or of a window that was closed just now; a skewed clock must not bring it back in time."""
        newest_s = (int(closed_s) // LONGEST_S) * LONGEST_S - 1  # the last second of the last window that is closed
        at_s = self._random.choice([newest_s, newest_s - ANCIENT_S]) - max(0.0, self.mix.skew_s)
        record, *_, size_bytes = self._record(at_s)
        if self._is_unlisted(record):
            self.ledger.unattributed["unknown-interface"] += size_bytes
        else:
            self.ledger.late_bytes += size_bytes
        return record

    def _odd_one(self, at_s: float) -> dict[str, object]:
        """Bytes that belong to no link: unroutable ones are in their window's row, the others are only counted."""
        record, link, *_, size_bytes = self._record(at_s)
        if self._random.random() < 0.3 and not self.mix.skew_s and not self.mix.renumbered:
            record["ip_dst"] = f"100.64.0.{self._random.randint(1, 254)}"
            self.ledger.unroutable[self.ledger.slot(link, at_s)] += size_bytes
        else:
            reason = self._random.choice(self._odd)(record)
            rate = max(1, int(str(record["sampling_rate"])))
            self.ledger.unattributed[reason] += int(str(record["bytes"])) * rate
        return record

    @staticmethod
    def _unknown_interface(record: dict[str, object]) -> str:
        record["iface_out"] = 999
        return "unknown-interface"

    @staticmethod
    def _special_interface(record: dict[str, object]) -> str:
        record["iface_out"] = 0x3FFFFFFF
        return "special-interface"

    @staticmethod
    def _unknown_router(record: dict[str, object]) -> str:
        record["peer_ip_src"] = "192.0.2.99"
        return "unknown-router"

    @staticmethod
    def _unknown_rate(record: dict[str, object]) -> str:
        record["sampling_rate"] = 0
        return "unknown-sampling-rate"

    def _unknown_ingress(self, record: dict[str, object]) -> str:
        """An interface that is ours, from one that is not."""
        record["iface_in"] = 77
        return "unknown-interface" if self._is_unlisted(record) else "unknown-ingress"

    def _is_unlisted(self, record: dict[str, object]) -> bool:
        """Whether its link has another number now than the inventory says, or is not in the inventory."""
        router = self.pop.router_by_agent[str(record["peer_ip_src"])]
        numbers = {now for (of, _), now in self.mix.renumbered.items() if of == router}
        return record["iface_out"] in numbers


def marker(kind: str, writer: str, entries: int = 0) -> bytes:
    """`purge_init` or `purge_close` as sfacctd writes them."""
    told: dict[str, str | int] = {"event_type": kind, "writer_id": writer}
    if kind == "purge_close":
        told |= {"purged_entries": entries, "total_entries": entries, "duration": 0}
    return json.dumps(told).encode()


def counter_sample(agent: str, ifindex: int, at_s: float, octets: int, speed_bps: int) -> bytes:
    """A generic interface counter sample as sfacctd writes it, of the keys that anybody reads."""
    sample = {
        "timestamp": f"{at_s:.6f}",
        "peer_ip_src": agent,
        "event_type": "log",
        "sf_cnt_type": "sflow_cnt_generic",
        "ifIndex": ifindex,
        "ifSpeed": speed_bps,
        "ifStatus": 3,
        "ifInOctets": octets // 10,
        "ifOutOctets": octets,
        "ifOutUcastPkts": octets // 1000,
        "ifOutDiscards": 0,
    }
    return json.dumps(sample).encode()


def peers_of(pop: Pop, router: str) -> list[Session]:
    """The eBGP peers of a router."""
    return [peer for link in pop.link if link.router == router for peer in link.sessions]


def bmp_session(port: int, writer: str) -> dict[str, object]:
    """What all messages of a BMP session have."""
    return {"event_type": "log", "bmp_router": "127.0.0.1", "bmp_router_port": port, "writer_id": writer}


def bmp_peer_up(peer: Session) -> dict[str, object]:
    return {"bmp_msg_type": "peer_up", "peer_ip": peer.peer, "peer_asn": peer.asn}


def bmp_update(peer: Session, prefix: str) -> dict[str, object]:
    path = {"bgp_nexthop": peer.next_hops[0], "as_path": f"{peer.asn} 65000", "origin": "i"}
    return bmp_withdraw(peer, prefix) | path | {"log_type": "update"}


def bmp_withdraw(peer: Session, prefix: str) -> dict[str, object]:
    of_rib = {"bmp_msg_type": "route_monitor", "log_type": "withdraw", "is_in": 1, "is_post": 1, "safi": 1}
    return of_rib | {"peer_ip": peer.peer, "ip_prefix": prefix}
