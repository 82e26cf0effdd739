"""The last resort: withdraws routes that outlive their lease, from its own thread, without event loop and Kafka.

GoBGP has no lifetime for a route. Whatever hangs in this process, the routes of an override must not stay
longer than its lease and a grace period, in which the reconciler can withdraw them in order.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import grpc
from google.protobuf.empty_pb2 import Empty

from app.bgp.client import OPTIONS, SERVICE, failed, requests
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import InjectedRoute
from app.bgp.wire import FAMILIES, our_routes, withdrawal
from app.clock import Clock
from app.config.inventory import Pop
from app.errors import SpeakerError

log = logging.getLogger(__name__)
TIMEOUT_S = 2.0


class BlockingSpeaker(Protocol):
    """A BGP speaker for use without an event loop; its methods block, and raise SpeakerError when they fail."""

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix."""

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes."""

    def close(self) -> None:
        """Close the connection; the routes stay in the daemon."""


class BlockingGobgp:
    """The gobgpd at `target`, over blocking gRPC calls with a deadline of TIMEOUT_S."""

    def __init__(self, target: str, marker: str) -> None:
        self._target = target
        self._marker = marker
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self._list = self._channel.unary_stream(
            f"{SERVICE}/ListPath", pb.ListPathRequest.SerializeToString, pb.ListPathResponse.FromString
        )
        self._send = self._channel.stream_unary(
            f"{SERVICE}/AddPathStream", pb.AddPathStreamRequest.SerializeToString, Empty.FromString
        )

    def routes(self) -> dict[str, InjectedRoute]:
        """Return the routes that carry our marker, by prefix; SpeakerError if gobgpd does not answer."""
        list_requests = [pb.ListPathRequest(table_type=pb.GLOBAL, family=family) for family in FAMILIES]
        try:
            responses: list[Any] = [
                response for request in list_requests for response in self._list(request, timeout=TIMEOUT_S)
            ]
        except grpc.RpcError as error:
            raise failed(self._target, "ListPath", error) from error
        return our_routes((response.destination for response in responses), self._marker)

    def withdraw(self, prefixes: list[str]) -> None:
        """Remove our routes for these prefixes; SpeakerError if gobgpd does not answer."""
        try:
            self._send(requests([withdrawal(prefix) for prefix in prefixes]), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise failed(self._target, "AddPathStream", error) from error

    def close(self) -> None:
        """Close the connection; the routes stay in gobgpd."""
        self._channel.close()


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
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._halted = halted
        self._seen_s: dict[tuple[str, int], float] = {}  # when each lease was first seen
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
        now_s = self._clock.monotonic_s()
        self._seen_s = {lease: self._seen_s.get(lease, now_s) for lease in {_lease(route) for _, route in held}}
        overdue = [(router, route) for router, route in held if self._is_overdue(route, now_s)]
        for exits in (False, True):
            for router in self._speakers:
                routes = [route for holder, route in overdue if holder == router]
                self._withdraw(router, [route.prefix for route in routes if self._is_exit(route) is exits])
        self.looked_s = self._clock.monotonic_s()
        return [(router, route.prefix) for router, route in overdue]

    def _is_overdue(self, route: InjectedRoute, now_s: float) -> bool:
        seen_for_s, past_s = now_s - self._seen_s[_lease(route)], self._clock.now_s() - route.lease_end_s
        return self._halted() or max(past_s, seen_for_s - self._lease_s) > self._grace_s

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


def _lease(route: InjectedRoute) -> tuple[str, int]:
    return route.prefix, route.lease_end_s
