"""Sees every announcement that reaches a neighbour, every route in an injector, every session and every process."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from app.config.inventory import Pop
from app.lab.daemons import exabgp, gobgp
from app.lab.daemons.machine import Site
from app.lab.daemons.runner import Runner
from tests.leaks.edges import Hops
from tests.leaks.tail import Ear, Heard, Tail, changes, monitor
from tests.leaks.truth import Truth


class Outside(NamedTuple):
    """A route of ours, in a router's injector or at the router itself, that copies nothing that may be copied."""

    router: str
    prefix: str
    next_hop: str


class Watch:
    """What was seen so far. `leaks` are announcements to eBGP neighbours that only a leak explains.

    `own_heard` counts how often a neighbour was sent one of the PoP's own prefixes, as it should be.
    """

    def __init__(self, pop: Pop, truth: Truth, site: Site, runner: Runner) -> None:
        self.leaks: list[Heard] = []
        self.outside: set[Outside] = set()
        self.own_heard: Counter[str] = Counter()
        self._pop, self._truth, self._site, self._runner = pop, truth, site, runner
        self._ears = [Ear(peer, exabgp.received_file(site, peer)) for peer in truth.announced]
        self._injectors: dict[str, Tail] = {}
        self._up_since: dict[str, set[int]] = {router: set() for router in pop.routers}
        self._down: set[str] = set()

    async def start(self) -> None:
        """Begin to watch the injectors."""
        for router in self._pop.routers:
            name = f"rib-of-injector-{router}"
            await self._runner.start(monitor(name, gobgp.target(self._site, f"injector-{router}"), "global", "rib"))
            self._injectors[router] = Tail(self._runner.log(name))

    def look(self, tables: Mapping[str, Hops]) -> None:
        """Judge what happened since the last call, and what the edges have from their injectors now."""
        for ear in self._ears:
            for heard in ear.listen():
                self._judge(heard)
        for router, tail in self._injectors.items():
            for change in changes(tail.lines()):
                if not change.neighbour and not change.withdrawn:  # it was added here, not sent by the edge
                    self._check(router, change.prefix, change.next_hop, change.as_path)
        for router, hops in tables.items():
            for prefix, next_hop in hops.items():
                self._check(router, prefix, next_hop)

    async def look_at_sessions(self) -> None:
        """Ask the injectors since when they have had the session with their edge: gobgpd 3.10 counts no losses."""
        for router in self._pop.routers:
            [edge] = await gobgp.gobgp(gobgp.target(self._site, f"injector-{router}"), "neighbor")
            self._up_since[router].add(edge["timers"]["state"]["uptime"]["seconds"])
            is_up = edge["state"]["session_state"] == gobgp.ESTABLISHED
            (self._down.discard if is_up else self._down.add)(router)

    @property
    def crashed(self) -> dict[str, int]:
        """The processes that have ended, with their exit status."""
        return self._runner.ended

    @property
    def resets(self) -> int:
        """How many sessions between injector and edge, or edge and neighbour, were lost."""
        of_injectors = sum(len(since) - 1 for since in self._up_since.values() if since) + len(self._down)
        return of_injectors + sum(ear.ups - 1 for ear in self._ears if ear.ups)

    def _judge(self, heard: Heard) -> None:
        """An edge sends its eBGP neighbours our own prefixes, which it originates itself, and nothing else."""
        marker, asn = self._pop.marker_community, self._pop.asn
        is_own = heard.prefix in self._pop.own_prefixes and heard.as_path == (asn,)
        if is_own and marker not in heard.communities and not heard.large_communities:
            self.own_heard[heard.neighbour] += 1
        else:
            self.leaks.append(heard)

    def _check(self, router: str, prefix: str, next_hop: str, as_path: tuple[int, ...] | None = None) -> None:
        if not self._truth.may_hold(router, prefix, next_hop, as_path):
            self.outside.add(Outside(router, prefix, next_hop))
