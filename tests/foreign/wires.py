"""The cables of the PoP: hosts that send at given rates, and far ends that count every byte that leaves by a link."""

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.clock import SystemClock
from app.lab.pop.packets import ETHERNET_BYTES, FCS_BYTES, IPV4_BYTES, tcp_frame

FRAME_BYTES = 1014  # without FCS, as interfaces count
SOURCES = {4: "198.18.0.1", 6: "2001:db8:1000::1"}
TICK_S = 0.01
CATCH_UP_S = 0.3  # what a busy machine has kept from being sent for longer is never sent: no link gets a burst of it
MARK_S = 0.2

Send = Callable[[bytes], object]
Numbers = NDArray[np.float64]


class Flow(NamedTuple):
    """Packets that enter the PoP at one interface, all to one address."""

    entry: str
    destination: str


class Wires:
    """Sends frames into the `entries` at `rates_bps`, and counts what arrives at the far end of each link.

    `far_ends` has a file descriptor by link. Rates are in bits per second of frames without FCS.
    """

    def __init__(self, entries: Mapping[str, Send], far_ends: Mapping[str, int]) -> None:
        self.rates_bps: Mapping[Flow, float] = {}
        self.arrived_bytes: Counter[tuple[str, str]] = Counter()  # by (link, destination)
        self._entries = entries
        self._far_ends = far_ends
        self._clock = SystemClock()
        self._names: dict[bytes, str] = {}
        self._marks_s: list[float] = []
        self._marks: dict[str, list[int]] = {link: [] for link in far_ends}

    async def run(self) -> None:
        """Send and count until cancelled."""
        loop = asyncio.get_running_loop()
        for link, far_end in self._far_ends.items():
            loop.add_reader(far_end, self._receive, link, far_end)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send())
                tasks.create_task(self._mark())
        finally:
            for far_end in self._far_ends.values():
                loop.remove_reader(far_end)

    def carried_bytes(self, link: str, until_s: Numbers) -> Numbers:
        """What has arrived at the far end of a link until each of these times."""
        return np.asarray(np.interp(until_s, self._marks_s, self._marks[link]))

    @property
    def began_s(self) -> float:
        """Since when far ends count."""
        return self._marks_s[0]

    async def _send(self) -> None:
        due_bytes: Counter[Flow] = Counter()
        last_s = self._clock.monotonic_s()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = self._clock.monotonic_s()
            for flow, bps in self.rates_bps.items():
                frame = _frame(flow.destination)
                self._names[_address(frame)] = flow.destination
                due_bytes[flow] += int(bps / 8 * min(now_s - last_s, CATCH_UP_S))
                while due_bytes[flow] >= FRAME_BYTES:
                    due_bytes[flow] -= FRAME_BYTES
                    self._put(flow.entry, frame)
            last_s = now_s

    def _put(self, entry: str, frame: bytes) -> None:
        try:
            self._entries[entry](frame)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):  # no room in the queue: it is not sent
                raise

    def _receive(self, link: str, far_end: int) -> None:
        try:
            while True:
                frame = os.read(far_end, 2048)
                self.arrived_bytes[link, self._names.get(_address(frame), "")] += len(frame)
        except BlockingIOError:
            pass

    async def _mark(self) -> None:
        while True:
            totals: Counter[str] = Counter()
            for (link, _), count in self.arrived_bytes.items():
                totals[link] += count
            self._marks_s.append(self._clock.now_s())
            for link, marks in self._marks.items():
                marks.append(totals[link])
            await asyncio.sleep(MARK_S)


@cache
def _frame(destination: str) -> bytes:
    version = 6 if ":" in destination else 4
    header = bytearray(tcp_frame(SOURCES[version], destination, FRAME_BYTES + FCS_BYTES, 50000))
    if version == 4:  # a router drops a packet whose header has no checksum
        words = memoryview(header)[ETHERNET_BYTES : ETHERNET_BYTES + IPV4_BYTES].cast("H")
        total = sum(int.from_bytes(word.to_bytes(2, "little"), "big") for word in words)
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        header[24:26] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(header).ljust(FRAME_BYTES, b"\0")


def _address(frame: bytes) -> bytes:
    """The destination address of an IP packet in a frame."""
    return frame[30:34] if frame[12:14] == b"\x08\x00" else frame[38:54]
