"""Composition root of `autopilot reaper`: one small process beside each gobgpd, with no Kafka, Faust or inventory.

It withdraws what is past the lease that it carries, and everything while the halt file exists or cannot be looked at.
A route says how long its lease is, gobgpd says since when it has the route: no clock but this host's has to be right.
A gobgpd that does not answer for `FROZEN_S` is ended: its routes go with its session.
"""

import argparse
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from app.actuation.leases import Leases
from app.bgp.blocking import BlockingGobgp, BlockingSpeaker
from app.clock import Clock, SteadyClock, SystemClock
from app.errors import SpeakerError

EVERY_S, GRACE_S, FROZEN_S = 1.0, 2.0, 4.0


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

    def look(self) -> list[str]:
        """Withdraw what has to go; return the prefixes."""
        try:
            routes = list(self._speaker.routes().values())
            halted = self._halted()
            prefixes = [route.prefix for route in (routes if halted else self._leases.ended(routes))]
            if prefixes:
                why = "halted" if halted else "past their lease"
                self._say(f"withdrawing {len(prefixes)} routes, {why}: {', '.join(prefixes[:10])}")
                self._speaker.withdraw(prefixes)
            self._answered_s = self._clock.monotonic_s()
            return prefixes
        except SpeakerError as error:
            if self._clock.monotonic_s() - self._answered_s > FROZEN_S:
                self._say(f"{error}; ending it")
                self._end()
                self._answered_s = self._clock.monotonic_s()
            return []


def halted(path: Path) -> bool:
    """Whether the halt file exists; if that cannot be known, it does."""
    try:
        return path.stat() is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True


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


def main(argv: list[str] | None = None) -> None:
    """Run until a signal."""
    parser = argparse.ArgumentParser(prog="autopilot reaper", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--target", required=True, help="gRPC of the gobgpd: unix:///path, or host:port")
    parser.add_argument("--marker", required=True, help="community of our routes, such as 64512:911")
    parser.add_argument("--halt-file", type=Path, default=Path("/etc/autopilot/halt"), help="as `halt_file`")
    parser.add_argument("--lease-s", type=float, default=300.0, help="as `pacing.lease_s`")
    options = parser.parse_args(argv)
    clock = SteadyClock(SystemClock())
    reaper = RouteReaper(
        BlockingGobgp(options.target, options.marker, in_host_time=True),
        clock,
        options.lease_s,
        lambda: halted(options.halt_file),
        lambda: end_peer(options.target),
        lambda text: print(f"{options.target}: {text}", file=sys.stderr, flush=True),
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reaper.look()
    while not stop.wait(EVERY_S):
        reaper.look()
