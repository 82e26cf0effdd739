"""The last resort: withdraws routes that outlive their lease, from its own thread, without event loop and Kafka.

GoBGP has no lifetime for a route. Whatever hangs in this process, the routes of an override must not stay
longer than its lease and a grace period, in which the reconciler can withdraw them in order.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from app.actuation.leases import Leases
from app.bgp.blocking import BlockingSpeaker
from app.bgp.speaker import InjectedRoute
from app.clock import Clock
from app.config.inventory import Pop
from app.errors import SpeakerError

log = logging.getLogger(__name__)


class Reaper:
    """The reaper of one PoP. A route has to be gone when the lease that it carries ends, or a full one from now."""

    def __init__(
        self,
        pop: Pop,
        speakers: Mapping[str, BlockingSpeaker],
        clock: Clock,
        halted: Callable[[], bool],
        lease_s: float,
        grace_s: float,
    ) -> None:
        self.looked_s: float | None = None
        self._pop = pop
        self._speakers = speakers
        self._clock = clock
        self._leases = Leases(clock, lease_s, grace_s)
        self._halted = halted
        self._stop = threading.Event()

    def start(self, every_s: float = 5.0) -> None:
        """Look every `every_s` seconds from a daemon thread, until `stop`."""
        threading.Thread(target=self._run, args=(every_s,), name=f"reaper-{self._pop.name}", daemon=True).start()

    def stop(self) -> None:
        """End the thread of `start` before its next round."""
        self._stop.set()

    def look(self) -> list[tuple[str, str]]:
        """Withdraw everything overdue, routes towards an exit before the exits; return it as (router, prefix) pairs."""
        held = [(router, route) for router in self._speakers for route in self._routes(router)]
        ended = {id(route) for route in self._leases.ended([route for _, route in held])}
        halted = self._halted()
        overdue = [(router, route) for router, route in held if halted or id(route) in ended]
        for exits in (False, True):
            for router in self._speakers:
                routes = [route for holder, route in overdue if holder == router]
                self._withdraw(router, [route.prefix for route in routes if self._is_exit(route) is exits])
        self.looked_s = self._clock.monotonic_s()
        return [(router, route.prefix) for router, route in overdue]

    def _is_exit(self, route: InjectedRoute) -> bool:
        return route.next_hop not in self._pop.router_by_loopback

    def _routes(self, router: str) -> list[InjectedRoute]:
        try:
            return list(self._speakers[router].routes().values())
        except SpeakerError:
            return []  # the driver logs it; nothing can be withdrawn from a speaker that does not answer
        except Exception:  # a gobgpd that cannot be understood must not protect the routes of the others
            log.exception("router %s: the reaper cannot read its routes", router, extra=self._context(router))
            return []

    def _withdraw(self, router: str, prefixes: list[str]) -> None:
        if not prefixes:
            return
        message, context = "router %s: %d overrides outlived their lease, withdrawing them: %s", self._context(router)
        log.error(message, router, len(prefixes), ", ".join(prefixes), extra=context)
        try:
            self._speakers[router].withdraw(prefixes)
        except SpeakerError as error:
            log.error("router %s: %s", router, error, extra=context)
        except Exception:
            log.exception("router %s: the reaper cannot withdraw its routes", router, extra=context)

    def _context(self, router: str) -> dict[str, str]:
        return {"pop": self._pop.name, "router": router}

    def _run(self, every_s: float) -> None:
        while not self._stop.wait(every_s):
            try:
                self.look()
            except Exception:  # the last resort must not end while there are routes to guard
                message = "the reaper of %s failed and looks again in %g s"
                log.exception(message, self._pop.name, every_s, extra={"pop": self._pop.name})
