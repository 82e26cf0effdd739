"""Composition root of `autopilot reaper`: one small process beside each gobgpd, with no Kafka, Faust or inventory.

It withdraws what is past the lease that it carries, and everything while the halt file exists or cannot be looked at.
A route says how long its lease is, gobgpd says since when it has the route: no clock but this host's has to be right.
A gobgpd that does not answer for `FROZEN_S` is ended: its routes go with its session.
"""

import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path

from app.actuation.halt_file import is_halted
from app.actuation.leases import Leases
from app.actuation.reaper_note import KEY
from app.bgp.blocking import BlockingGobgp, BlockingSpeaker
from app.clock import Clock, SteadyClock, SystemClock
from app.errors import SpeakerError

EVERY_S, GRACE_S, FROZEN_S = 1.0, 2.0, 3.5
LISTED_PER_S = 1000  # routes that are looked at, on average


class RouteReaper:
    """The reaper of one gobgpd. `end` ends that daemon, `say` writes a line for people."""

    def __init__(
        self,
        speaker: BlockingSpeaker,
        clock: Clock,
        lease_s: float,
        halted: Callable[[], bool],
        end: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._speaker = speaker
        self._clock = clock
        self._leases = Leases(clock, lease_s, GRACE_S)
        self._halted = halted
        self._end = end
        self._say = say
        self._answered_s = clock.monotonic_s()
        self._looks = 0
        self._list_s = 0.0

    def look(self) -> list[str]:
        """Leave a sign of life, withdraw what has to go, and end the daemon if it is frozen; return the prefixes."""
        now_s = self._clock.monotonic_s()
        try:
            self._looks += 1
            self._speaker.put_note(KEY, str(self._looks).encode())
            prefixes = self._withdraw(self._halted())
            self._answered_s = self._clock.monotonic_s()
            return prefixes
        except SpeakerError as error:
            if now_s - self._answered_s > FROZEN_S:
                self._say(f"{error}; ending it")
                self._end()
                self._answered_s = now_s
            return []

    def _withdraw(self, is_halted: bool) -> list[str]:
        """Withdraw what is past its lease, or everything. The routes are not listed more often than may be needed."""
        now_s = self._clock.monotonic_s()
        if now_s < self._list_s and not is_halted:
            return []
        routes = list(self._speaker.routes().values())
        ended = routes if is_halted else self._leases.ended(routes)
        prefixes = [route.prefix for route in ended]
        if prefixes:
            why = "halted" if is_halted else "past their lease"
            self._say(f"withdrawing {len(prefixes)} routes, {why}: {', '.join(prefixes[:10])}")
            self._speaker.withdraw(prefixes)
        first_end_s = min((route.lease_end_s for route in routes), default=inf) - self._clock.now_s() + GRACE_S
        self._list_s = now_s + min(len(routes) / LISTED_PER_S, max(0.0, first_end_s))
        return prefixes


def end_peer(target: str) -> None:
    """Kill the process that listens on a unix socket; for another target nothing is known of it."""
    if not target.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(1.0)
        try:
            peer.connect(target.removeprefix("unix://"))
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            os.kill(struct.unpack("3i", credentials)[0], signal.SIGKILL)
        except OSError as error:
            print(f"{target}: cannot be ended: {error}", file=sys.stderr, flush=True)


def run(target: str, marker: str, halt_file: Path, lease_s: float) -> None:
    """Look after the gobgpd at `target` until a signal."""
    reaper = RouteReaper(
        BlockingGobgp(target, marker, in_host_time=True),
        SteadyClock(SystemClock()),
        lease_s,
        lambda: is_halted(halt_file),
        lambda: end_peer(target),
        lambda text: print(f"{target}: {text}", file=sys.stderr, flush=True),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reaper.look()
    while not stop.wait(EVERY_S):
        reaper.look()
