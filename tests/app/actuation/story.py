"""A PoP told as a story: decisions, neighbours and time on one side, what the routers hold on the other.

The network is an ideal one. What a speaker holds, its router shows over BMP when the story says `echo`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from app.actuation.bmp_witness import BmpWitness
from app.actuation.driver import Driver
from app.actuation.journal import Journal
from app.actuation.reconciler import Reconciler
from app.actuation.timing import Timing
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker, InjectedRoute
from app.clock import ManualClock
from app.config.inventory import Pop
from app.contract.schemas import Actuation, Override
from app.te.routing.heard import Heard
from app.te.routing.path import Path
from app.te.routing.rib import Rib
from tests.app.actuation.pop import POP, PREFIX, decision, exit_at


class LoggedSpeaker(MemorySpeaker):
    """Writes what it is told into the story's log: `r1 + prefix > next hop`, `r1 - prefix`."""

    def __init__(self, router: str, log: list[str]) -> None:
        super().__init__()
        self._router = router
        self._log = log

    async def announce(self, routes: Iterable[InjectedRoute]) -> None:
        routes = list(routes)
        await super().announce(routes)
        self._log += [f"{self._router} + {route.prefix} > {route.next_hop}" for route in routes]

    async def withdraw(self, prefixes: Iterable[str]) -> None:
        prefixes = list(prefixes)
        await super().withdraw(prefixes)
        self._log += [f"{self._router} - {prefix}" for prefix in prefixes]


class Story:
    """One PoP, ready, with every neighbour announcing PREFIX; BMP echoes by itself unless `mute` names the router."""

    def __init__(self, pop: Pop = POP, prefixes: Sequence[str] = (PREFIX,), timing: Timing | None = None) -> None:
        self.pop = pop
        self.clock = ManualClock()
        self.rib = Rib()
        self.log: list[str] = []
        self.records: list[Actuation] = []
        self.speakers = {router: LoggedSpeaker(router, self.log) for router in pop.routers}
        self.mute: set[str] = set()
        self.silent_since_s: dict[str, float] = {}  # routers of which BMP is not heard any more
        self.ready = True
        self.seq = 0
        self.start(timing or Timing())
        for router in pop.router:
            self.rib.peer_up(router.name, router.injector.address, pop.asn)
        for number in range(1, 5):
            self.up(number, prefixes)

    def start(self, timing: Timing) -> None:
        """The actuator starts, or starts again with nothing in mind."""
        journal = Journal(self.pop, self.clock, self.records.append, dry=False)
        witness = BmpWitness(self.pop, self.rib, self.heard)
        self.reconciler = Reconciler(witness, self.clock, journal, lambda: self.ready, timing)
        self.driver = Driver(self.reconciler, self.opens(), self.clock)
        for router, speaker in self.speakers.items():
            self.reconciler.listed(router, speaker.held)

    def opens(self) -> dict[str, Callable[[], BgpSpeaker]]:
        """How to connect to each speaker."""
        return {router: partial(self.speakers.__getitem__, router) for router in self.speakers}

    def heard(self, router: str) -> Heard:
        """A router is silent from when `silence` was called; its session has its whole table otherwise."""
        silent_s = self.clock.monotonic_s() - self.silent_since_s.get(router, self.clock.monotonic_s())
        return Heard(silent_s, silent_s > self.pop.routers[router].bmp_silence_s)

    # what happens

    def silence(self, *routers: str) -> None:
        """From now on BMP shows nothing of these routers any more."""
        self.silent_since_s |= dict.fromkeys(routers, self.clock.monotonic_s())
        self.mute |= set(routers)

    def up(self, number: int, prefixes: Sequence[str] = (PREFIX,), communities: tuple[str, ...] = ()) -> None:
        """The neighbour on `et<number>` announces these prefixes."""
        for prefix in prefixes:
            where = exit_at(number, 6 if ":" in prefix else 4)
            path = Path(where.peer, where.next_hop, (64600 + number, 65010), communities=communities)
            self.rib.peer_up(where.router, where.peer, 64600 + number)
            self.rib.update(where.router, prefix, path)
            self.reconciler.rib_changed([prefix])

    def gone(self, number: int, prefix: str = PREFIX) -> None:
        """The neighbour on `et<number>` withdraws the prefix."""
        where = exit_at(number)
        self.rib.withdraw(where.router, prefix, where.peer)
        self.reconciler.rib_changed([prefix])

    def down(self, number: int) -> None:
        """The session on `et<number>` is lost."""
        where = exit_at(number)
        self.reconciler.rib_changed(self.rib.peer_down(where.router, where.peer))

    def decide(self, *overrides: Override, released: Sequence[str] = (), epoch: int = 7, age_s: float = 0.0) -> None:
        self.seq += 1
        self.reconciler.follow(decision(self.clock.now_s(), self.seq, overrides, released, epoch, age_s=age_s))

    def lose_speaker(self, router: str) -> None:
        """The gobgpd of a router restarts: its session drops and nothing is kept."""
        self.speakers[router].lose()
        self.echo(router)

    def echo(self, *routers: str) -> bool:
        """BMP of these routers (all by default) shows what their speakers hold; whether that was news."""
        changed: set[str] = set()
        for router in routers or tuple(name for name in self.speakers if name not in self.mute):
            changed |= self._echo(router)
        self.reconciler.rib_changed(changed)
        return bool(changed)

    # how time passes

    async def step(self, order: Sequence[str] = ()) -> list[str]:
        """One round over the routers without BMP; what it did."""
        before = len(self.log)
        self.reconciler.tick()
        for router in order or self.speakers:
            await self.driver.routers[router].converge()
        return self.log[before:]

    async def settle(self) -> list[str]:
        """Rounds and echoes until nothing happens any more; what was done."""
        before = len(self.log)
        for _ in range(20):
            done = await self.step()
            if not self.echo() and not done:
                return self.log[before:]
        raise AssertionError(f"does not settle: {self.log[before:]}")

    async def wait(self, seconds: float) -> list[str]:
        """Time passes second by second; what was done meanwhile."""
        before = len(self.log)
        for _ in range(round(seconds)):
            self.clock.advance(1)
            await self.settle()
        return self.log[before:]

    # what is seen

    def holding(self, prefix: str = PREFIX) -> dict[str, str]:
        """Next hop by router, in the speakers."""
        return {name: s.held[prefix].next_hop for name, s in self.speakers.items() if prefix in s.held}

    def told(self, action: str, prefix: str = PREFIX) -> list[tuple[str, str]]:
        """(router, reason) of every record of this action."""
        return [(each.router, each.reason) for each in self.records if (each.action, each.prefix) == (action, prefix)]

    def _echo(self, router: str) -> set[str]:
        injector = self.pop.routers[router].injector.address
        held = {prefix: _as_path(injector, route) for prefix, route in self.speakers[router].held.items()}
        shown = {
            prefix: path
            for prefix in list(self.rib.prefixes(router))
            if (path := self.rib.paths(router, prefix).get((injector, 0))) is not None
        }
        for prefix in shown.keys() - held.keys():
            self.rib.withdraw(router, prefix, injector)
        changed = {prefix for prefix in held if shown.get(prefix) != held[prefix]}
        for prefix in changed:
            self.rib.update(router, prefix, held[prefix])
        return changed | (shown.keys() - held.keys())


def _as_path(injector: str, route: InjectedRoute) -> Path:
    large = ":".join(map(str, route.large_community))
    return Path(
        peer=injector,
        next_hop=route.next_hop,
        as_path=route.as_path,
        local_pref=route.local_pref,
        communities=route.communities,
        large_communities=(large,),
        ebgp=False,
    )
