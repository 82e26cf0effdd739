"""Sends sFlow datagrams by UDP at a measured pace and keeps account of the sampled bytes that the kernel took."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Final

from app.clock import Clock
from app.lab.pop.exporter import Datagram

BURST_MAX: Final = 30  # datagrams without a pause; far less than the smallest receive buffer
PAUSE_S: Final = 0.002
Address = tuple[str, int]


class Account:
    """What the kernel has taken. Bytes are frame length x sampling rate, records are flow samples."""

    def __init__(self, window_s: int) -> None:
        self._window_s = window_s
        self.datagrams = 0
        self.datagrams_failed = 0
        self.records: Counter[str] = Counter()  # by link
        self.sampled_bytes: Counter[str] = Counter()  # by link
        self.window_bytes: Counter[tuple[str, int]] = Counter()  # by (link, start of the window in Unix seconds)

    def sent(self, datagram: Datagram, now_s: float) -> None:
        """Count a datagram that the kernel took at `now_s` (Unix seconds)."""
        self.datagrams += 1
        window_start_s = int(now_s // self._window_s) * self._window_s
        for sampled in datagram.sampled:
            self.records[sampled.link] += 1
            self.sampled_bytes[sampled.link] += sampled.size_bytes
            self.window_bytes[sampled.link, window_start_s] += sampled.size_bytes


class Sender:
    """One UDP socket that sends to the collector. Close it when done."""

    def __init__(self, collector: Address, clock: Clock, window_s: int = 10) -> None:
        self._collector, self._clock = collector, clock
        family = socket.AF_INET6 if ":" in collector[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)  # unconnected, so a dead collector causes no error here
        self._socket.setblocking(False)
        self.account = Account(window_s)

    def close(self) -> None:
        """Close the socket; nothing can be sent afterwards."""
        self._socket.close()

    async def send(self, datagrams: Iterable[Datagram], start_s: float) -> None:
        """Send each datagram when it is due after `start_s` (monotonic); late ones in bursts of at most BURST_MAX."""
        burst = 0
        for datagram in datagrams:
            wait_s = start_s + datagram.due_s - self._clock.monotonic_s()
            if wait_s > 0 or burst == BURST_MAX:
                await asyncio.sleep(max(wait_s, PAUSE_S))
                burst = 0
            burst += 1
            await self._send_one(datagram)

    async def _send_one(self, datagram: Datagram) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendto(self._socket, datagram.payload, self._collector)
        except OSError:
            self.account.datagrams_failed += 1
        else:
            self.account.sent(datagram, self._clock.now_s())
