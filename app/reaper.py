"""Composition root of `autopilot reaper`: one small process beside each gobgpd, with no Kafka, Faust or inventory.

It withdraws what is past the lease that it carries, and everything while the halt file exists or cannot be looked at.
A route says how long its lease is, gobgpd says since when it has the route: no clock but this host's has to be right.
A gobgpd that does not answer is ended: its routes go with its session.
"""

import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING

from app.actuation.halt_file import is_halted
from app.actuation.leases import Leases
from app.actuation.reaper_note import KEY
from app.bgp.blocking import BlockingGobgp, BlockingSpeaker
from app.bgp.calls import Deadline
from app.bgp.speaker import RESET_ABOVE
from app.clock import Clock, SystemClock
from app.errors import SpeakerError

if TYPE_CHECKING:
    from app.bgp.tls import Tls

EVERY_S, AGAIN_S, GRACE_S = 1.0, 0.2, 2.0
ANSWER = Deadline(base_s=1.0)
FROZEN_S, HUNG_S = 3.0, 15.0  # without an answer: of a daemon that uses no CPU, of one that does
ENDS_WITHIN_S = 2  # from SIGKILL until its socket may be removed
LISTED_PER_S = 1000  # routes that are looked at, on average


class Daemon:
    """The process that listens on a unix socket; of another target nothing is known."""

    def __init__(self, target: str) -> None:
        self._socket = Path(target.removeprefix("unix://")) if target.startswith("unix://") else None

    def cpu_s(self) -> float:
        """CPU seconds that it has used, in user and kernel mode; NaN, which equals nothing, if that is not known."""
        try:
            fields = Path(f"/proc/{self._pid()}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return nan
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Kill it, and remove its socket, which would keep its successor from starting; OSError if it is not there."""
        pid = self._pid()
        os.kill(pid, signal.SIGKILL)
        assert self._socket is not None, "it has a process"
        for _ in range(ENDS_WITHIN_S * 50):
            if not Path(f"/proc/{pid}").exists():
                return self._socket.unlink(missing_ok=True)
            threading.Event().wait(0.02)

    def _pid(self) -> int:
        if self._socket is None:
            raise OSError("no process is known behind TCP")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(1.0)
            peer.connect(str(self._socket))
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        if pid <= 0:  # it lives in another PID namespace
            raise OSError("its process is not visible from here")
        return pid


class RouteReaper:
    """The reaper of one gobgpd, whose process is `daemon`. `say` writes a line for people."""

    def __init__(
        self,
        speaker: BlockingSpeaker,
        daemon: Daemon,
        clock: Clock,
        lease_s: float,
        halted: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._speaker = speaker
        self._daemon = daemon
        self._clock = clock
        self._leases = Leases(clock, lease_s, GRACE_S)
        self._halted = halted
        self._say = say
        self._answered_s = clock.monotonic_s()
        self._worked_s: float | None = None  # CPU seconds that the daemon had used when it did not answer last
        self._looks = 0
        self._list_s = 0.0

    @property
    def answered(self) -> bool:
        """Whether the daemon answered the last look."""
        return self._worked_s is None

    def look(self) -> list[str]:
        """Leave a sign of life, withdraw what has to go, and end the daemon if it is frozen; return the prefixes."""
        try:
            self._looks += 1
            self._speaker.put_note(KEY, str(self._looks).encode())
            prefixes = self._withdraw(self._halted())
            self._answered_s, self._worked_s = self._clock.monotonic_s(), None
            return prefixes
        except SpeakerError as error:
            self._judge(error)
            return []

    def _judge(self, error: SpeakerError) -> None:
        """End a daemon that does not answer: soon if it does nothing else either, later if it is only very busy."""
        before_s, self._worked_s = self._worked_s, self._daemon.cpu_s()
        silent_s = self._clock.monotonic_s() - self._answered_s
        if silent_s < (FROZEN_S if before_s == self._worked_s else HUNG_S):
            return
        self._say(f"{error}; ending it")
        try:
            self._daemon.end()
        except OSError as problem:
            self._say(f"it cannot be ended: {problem}")
        self._answered_s = self._clock.monotonic_s()

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
            if is_halted and len(prefixes) > RESET_ABOVE:
                try:
                    self._speaker.reset("autopilot: halted by file")
                except SpeakerError as error:  # they go without it, one by one
                    self._say(str(error))
            self._speaker.withdraw(prefixes)
        first_end_s = min((route.lease_end_s for route in routes), default=inf) - self._clock.now_s() + GRACE_S
        self._list_s = now_s + min(len(routes) / LISTED_PER_S, max(0.0, first_end_s))
        return prefixes


def run(target: str, marker: str, halt_file: Path, lease_s: float, tls: "Tls | None" = None) -> None:
    """Look after the gobgpd at `target` until a signal; by mutual TLS if `tls` says how."""
    if tls is not None:
        tls.current()  # or it would take its own lack of a certificate for gobgpd's silence, and end gobgpd
    reaper = RouteReaper(
        BlockingGobgp(target, marker, ANSWER, in_host_time=True, tls=tls),
        Daemon(target),
        SystemClock(),
        lease_s,
        lambda: is_halted(halt_file),
        lambda text: print(f"{target}: {text}", file=sys.stderr, flush=True),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reaper.look()
    while not stop.wait(EVERY_S if reaper.answered else AGAIN_S):
        reaper.look()
