"""The routers' sFlow agents: turn samples and counter readings into datagrams, each with its own sequence numbers."""

import ipaddress
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, TypeVar

import msgspec
import numpy as np

from app.config.inventory import Link
from app.lab.pop.packets import tcp_frame
from app.lab.pop.pop import SimPop
from app.lab.pop.prefixes import HOSTS_PER_PREFIX
from app.lab.pop.sampler import Samples
from app.lab.pop.sflow import (
    SAMPLES_PER_DATAGRAM,
    FlowSample,
    GenericCounters,
    encode_counters,
    encode_datagram,
    encode_flow,
)

T = TypeVar("T")

FLUSH_S: Final = 0.1  # how long an agent waits at most to fill a datagram
CLIENT_PORT: Final = 40000


class Sampled(msgspec.Struct, frozen=True):
    """What one flow sample stands for: its link, and the frame's size times the sampling rate."""

    link: str
    size_bytes: int


class Datagram(msgspec.Struct, frozen=True):
    """One UDP payload, when it is due (in seconds since the start of its tick) and the flow samples in it."""

    due_s: float
    payload: bytes
    sampled: tuple[Sampled, ...] = ()


class Exporter:
    """The sFlow agents of all routers of one PoP; `rate` is the sampling rate."""

    def __init__(self, sim: SimPop, rate: int, rng: np.random.Generator) -> None:
        self._sim, self._rate, self._rng = sim, rate, rng
        self._sources = {
            network.version: str(network[1]) for network in map(ipaddress.ip_network, sim.pop.own_prefixes)
        }
        self._sequence = dict.fromkeys(sim.pop.routers, 0)

    def flows(self, samples: Samples, uptime_s: float) -> list[Datagram]:
        """The datagrams with the flow samples of the tick that begins at `uptime_s`, in order of time."""
        hosts = self._rng.integers(HOSTS_PER_PREFIX, size=len(samples.due_s))
        columns = (samples.link, samples.ingress, samples.prefix, samples.frame_bytes, samples.pool, samples.sequence)
        rows = zip(samples.due_s.tolist(), hosts.tolist(), *(column.tolist() for column in columns), strict=True)
        by_router: dict[str, list[tuple[float, bytes, Sampled]]] = {router: [] for router in self._sequence}
        for due_s, host, link_index, ingress, prefix, frame_bytes, pool, sequence in rows:
            link = self._sim.pop.link[link_index]
            encoded = self._flow(link, ingress, self._sim.prefixes.hosts[prefix][host], frame_bytes, pool, sequence)
            sampled = Sampled(self._sim.link_ids[link_index], frame_bytes * self._rate)
            by_router[link.router].append((due_s, encoded, sampled))
        datagrams = [
            datagram for router, items in by_router.items() for datagram in self._pack(router, items, uptime_s)
        ]
        return sorted(datagrams, key=lambda datagram: datagram.due_s)

    def counters(self, readings: Sequence[GenericCounters], uptime_s: float, due_s: float) -> list[Datagram]:
        """Datagrams with one reading of every link (in inventory order), all due `due_s` after the tick begins."""
        links = self._sim.pop.link
        datagrams = []
        for router in self._sequence:
            encoded = [
                encode_counters(reading) for link, reading in zip(links, readings, strict=True) if link.router == router
            ]
            datagrams += [Datagram(due_s, self._encode(router, uptime_s + due_s, part)) for part in _chunks(encoded)]
        return datagrams

    def _flow(self, link: Link, ingress: int, host: str, frame_bytes: int, pool: int, sequence: int) -> bytes:
        return encode_flow(
            FlowSample(
                sequence=sequence,
                source_ifindex=link.ifindexes[0],
                sampling_rate=self._rate,
                sample_pool=pool,
                input_ifindex=self._input_ifindex(link.router, self._sim.pop.router[ingress].name),
                output_ifindex=link.ifindexes[0],
                frame_bytes=frame_bytes,
                header=tcp_frame(self._sources[6 if ":" in host else 4], host, frame_bytes, CLIENT_PORT),
            )
        )

    def _input_ifindex(self, exit_router: str, ingress_router: str) -> int:
        """Where the exit router received the packet: on an internal interface, or on the core link to its ingress."""
        router = self._sim.pop.routers[exit_router]
        return router.internal_ifindexes[0] if ingress_router == exit_router else router.core[ingress_router][0]

    def _pack(self, router: str, items: Sequence[tuple[float, bytes, Sampled]], uptime_s: float) -> Iterator[Datagram]:
        for _, slot in groupby(items, key=lambda item: item[0] // FLUSH_S):
            for part in _chunks(list(slot)):
                due_s = part[-1][0]
                payload = self._encode(router, uptime_s + due_s, [encoded for _, encoded, _ in part])
                yield Datagram(due_s, payload, tuple(sampled for _, _, sampled in part))

    def _encode(self, router: str, uptime_s: float, samples: Sequence[bytes]) -> bytes:
        self._sequence[router] += 1
        agent = self._sim.pop.routers[router].agent_address
        return encode_datagram(agent, self._sequence[router], int(uptime_s * 1000), samples)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + SAMPLES_PER_DATAGRAM] for at in range(0, len(items), SAMPLES_PER_DATAGRAM))
