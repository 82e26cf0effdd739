"""The actuator of one PoP on its real readers, and an oracle of its own: nothing hostile may be announced or lost.

Its speakers are in memory. Their routers show over BMP what they hold, and the neighbours announce what Truth says.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from faust.types import TP

from agents.actuate import Following
from app import actuator
from app.actuation.describe import describe_overrides, describe_speakers
from app.actuation.driver import Driver
from app.actuator import ActuatorPorts
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import NO_EXPORT, InjectedRoute
from app.clock import ManualClock, utc
from app.contract import topics
from app.contract.decoding import RAW_BYTES_MAX, Read, reader_of
from app.contract.schemas import Actuation, Control, DeadLetter, Decision
from app.contract.signing import Keyring
from app.contract.topics import RECORD_BYTES_MAX
from app.kafka.orders import ALL, Orders
from app.stream.app import ExactApp
from app.stream.fetching import Record
from app.stream.incarnations import Found, Inputs
from tests.fuzz import corpus
from tests.fuzz.corpus import NOW_S, POP
from tests.fuzz.mutation import Mutator
from tests.fuzz.worlds import SETTINGS
from tests.keys import ANYBODY
from tests.leaks.hostile import Sets
from tests.leaks.truth import Truth
from tests.pops import demo_pop
from tests.tables.memory import memory_table

PASSES_S = 0.05  # with each record
SETTLE_ROUNDS = 4
NEVER_IN_AN_AS_PATH = {0, 23456, 65535, 64512}  # RFC 7607, 6793, 7300, and our own AS
EPOCH_S = NOW_S - 10**6
EPOCH = re.compile(rb'("epoch": ?)%d' % EPOCH_S)
TIME = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TOPIC = topics.DECISIONS.for_pop(POP)
BMP = topics.BMP.for_pop(POP)

read_decision: Read[Decision] = reader_of(Decision)
read_actuation: Read[Actuation] = reader_of(Actuation)
read_letter: Read[DeadLetter] = reader_of(DeadLetter)
read_order: Read[Control] = reader_of(Control)
Tally = Counter[str]


class Hostile(AssertionError):
    """Something was announced that copies no live path."""


@cache
def truth() -> Truth:
    """What the neighbours of the demo's PoP announce."""
    return Truth(demo_pop())


class FakeApp:
    """As much of a Faust app as the actuator uses. What is published stays in `sent`, as (topic, value)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.inputs = Inputs(self._ask)
        self.consumer = SimpleNamespace(_committed_offset={})
        self.readers: list[Any] = []
        loop = asyncio.new_event_loop()  # never run
        self._confirmed = loop.create_future()
        self._confirmed.set_result(None)
        loop.close()

    def end(self, topic: str) -> int:
        return 0  # all was read

    def topic(self, name: str) -> Any:
        async def send(*, key: bytes, value: bytes) -> asyncio.Future[None]:
            self.sent.append((name, value))
            return self._confirmed

        return SimpleNamespace(send=send)

    async def _ask(self, topic: str) -> Found:
        return Found("one")


class Stream:
    """One event of a topic, as Faust would pass it on."""

    def __init__(self, topic: str, record: Record) -> None:
        self._event = SimpleNamespace(value=[record], message=SimpleNamespace(tp=TP(topic, 0)))

    async def events(self) -> AsyncIterator[Any]:
        yield self._event


class ReadOrders:
    """The control topic was read to its end."""

    caught_up = True

    def obey(self, trust: Keyring) -> None:
        """Everything is obeyed."""


class Actuator:
    """Takes records of decisions and orders. `tally` counts what became of them."""

    def __init__(self, tally: Tally) -> None:
        self.clock = ManualClock(NOW_S)
        self._tally, self._truth = tally, truth()
        self._pop = demo_pop()
        self._app = FakeApp()
        self._following: list[Following] = []
        self._on_orders: list[Callable[[Orders], None]] = []
        self._orders, self._halts = Orders(ANYBODY), set[str]()
        self._reasons: dict[str, set[str]] = {}  # of the refusals of a prefix since it was last announced
        self._shown: dict[str, Mapping[str, InjectedRoute]] = {router: {} for router in self._pop.routers}
        self._number = 0
        self.speakers = {router: MemorySpeaker() for router in self._pop.routers}
        ports = ActuatorPorts(
            cast(ExactApp, self._app),
            self.clock,
            memory_table,
            lambda reading: None,
            self._following.append,
            self._follow_orders,
            lambda pop, router: self.speakers[router.name],
            lambda: False,
            self._journal,
            lambda status: None,
            lambda topic, record, at_s: None,
            "fuzz",
        )
        cell = actuator.assemble({POP: self._pop}, SETTINGS, ports)
        self._routes, self._actuator = cell.routes, cell.pops[POP]
        self._driver = Driver(
            self._actuator.reconciler,
            {router: partial(self.speakers.__getitem__, router) for router in self.speakers},
            self.clock,
        )
        self._positions = iter(range(10**9))
        self._dump()
        self._settle()

    def _follow_orders(self, on_change: Callable[[Orders], None]) -> ReadOrders:
        self._on_orders.append(on_change)
        return ReadOrders()

    # what comes in

    def decide(self, values: Sequence[bytes]) -> None:
        """Take mutants of decisions that were made at NOW_S as if they were of now, and newer than the last one."""
        for value in values:
            later = TIME.sub(partial(_later, self.clock.now_s() - NOW_S), value)
            self.take(EPOCH.sub(b"\\g<1>%d" % self._next_epoch(), later))

    def make_and_decide(self, seeds: Sequence[bytes]) -> None:
        """Make hostile decisions from each of these seeds, change fields of every other one, and take them."""
        for seed in seeds:
            rng = corpus.rng(seed)
            sets = Sets(self._pop, self._truth, rng.randrange(2**32), self._next_epoch())
            value = sets.next(self.clock.now_s())
            self.take(value if rng.random() < 0.5 else Mutator([value], rng).mutants(1)[0])

    def _next_epoch(self) -> int:
        return max(EPOCH_S, self._actuator.reconciler.overrides.newest[0] + 1)

    def take(self, value: bytes) -> None:
        """Take one record of decisions, and judge what becomes of it: followed, refused or a dead letter."""
        self.clock.advance(PASSES_S)
        self._number += 1
        self._tally["decisions"] += 1
        self._app.sent.clear()
        before = self._actuator.reconciler.overrides.newest
        record = Record(self._number, self.clock.now_s(), None, value)
        (following,) = self._following
        run_now(following.run(Stream(TOPIC, record)))
        letters = [letter for name, letter in self._app.sent if name == topics.DEAD_LETTERS.name]
        if letters:
            self._judge_letter(letters, value)
        else:
            self._judge_decision(read_decision(value), before)
        self._settle()

    def order(self, records: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """Take records of orders, and judge each by what its value says and by its key."""
        for key, value in records:
            self._tally["orders"] += 1
            unreadable = self._orders.unreadable.records[topics.CONTROL.name]
            self._orders.take(key, value, self.clock.now_s())
            said = read_order(value) if value is not None else None
            if isinstance(said, Control) and said.pop.encode() == key:
                self._tally["orders followed"] += 1
                (self._halts.add if said.halt else self._halts.discard)(said.pop)
            else:
                self._tally["orders refused"] += 1
                assert self._orders.unreadable.records[topics.CONTROL.name] == unreadable + 1, "it is not counted"
            halted = bool(self._halts & {ALL, POP})
            assert self._orders.halted(POP) == halted, f"{key!r} {value!r} has changed what is halted"
            self._on_orders[0](self._orders)
        if self._halts & {ALL, POP}:
            self._settle()
            self.make_and_decide([b"%d" % (self._number + more) for more in range(3)])
            assert not any(speaker.held for speaker in self.speakers.values()), "halted, and routes stand"
            self._resume()

    def _resume(self) -> None:
        """Lift every halt, for what comes next."""
        for name in sorted(self._halts):
            order = Control(pop=name, halt=False, by="ada", at=utc(self.clock.now_s()))
            self._orders.take(name.encode(), msgspec.json.encode(order), self.clock.now_s())
        self._halts.clear()
        self._on_orders[0](self._orders)

    # what comes of it

    def _judge_letter(self, letters: Sequence[bytes], value: bytes) -> None:
        self._tally["dead letters"] += 1
        (encoded,) = letters
        letter = read_letter(encoded)
        assert isinstance(letter, DeadLetter), letter
        assert len(encoded) <= RECORD_BYTES_MAX
        assert letter.raw == value[:RAW_BYTES_MAX]
        assert letter.reason, "a dead letter without a reason"
        if letter.reason.startswith("it cannot be followed"):
            self._tally["ends"] += 1
            raise AssertionError(letter.reason)

    def _judge_decision(self, decision: Any, before: tuple[int, int]) -> None:
        assert isinstance(decision, Decision), f"neither followed nor a dead letter: {decision}"
        if decision.mode != "auto" or (decision.epoch, decision.seq) <= before or self._halts & {ALL, POP}:
            self._tally["not to be followed"] += 1
            return
        self._tally["followed"] += 1
        assert self._actuator.reconciler.overrides.newest == (decision.epoch, decision.seq)
        entries = describe_overrides(self._actuator.reconciler)
        for override in decision.overrides:
            wanted = entries.get(override.prefix, {}).get("state") in ("adding", "standing")
            assert wanted or self._reasons.get(override.prefix), f"{override} is neither followed nor refused"

    def _journal(self, record: Actuation) -> None:
        """Every record has a reason, can be read, and is small enough for its topic."""
        encoded = msgspec.json.encode(record)
        assert record.reason or record.action != "refused", f"refused without a reason: {record}"
        assert isinstance(read_actuation(encoded), Actuation), f"{read_actuation(encoded)}: {record}"
        assert len(encoded) < RECORD_BYTES_MAX
        if record.action == "refused":
            self._tally[f"refused: {record.reason}"] += 1
            self._reasons.setdefault(record.prefix, set()).add(record.reason)
        elif record.action == "announced":
            self._tally["announced"] += 1
            self._reasons.pop(record.prefix, None)

    def _settle(self) -> None:
        """Let the speakers take what they should hold and their routers show it, and judge each route."""
        reconciler = self._actuator.reconciler
        reconciler.tick()
        for _ in range(SETTLE_ROUNDS):
            for router in self.speakers:
                run_now(self._driver.routers[router].converge())
                self._judge_routes(router)
            if not any([self._echo(router) for router in self.speakers]):
                break
        msgspec.json.encode([describe_overrides(reconciler), describe_speakers(reconciler)])

    def _judge_routes(self, router: str) -> None:
        for prefix, route in self.speakers[router].held.items():
            if self._shown[router].get(prefix) is not route and (problem := self._hostile(router, route)) is not None:
                self._tally["announced_hostile"] += 1
                raise Hostile(f"{router}: {problem}: {route}")

    def _hostile(self, router: str, route: InjectedRoute) -> str | None:
        """Why this route must not stand on a router; told by nothing but what was announced to the PoP."""
        admin, lease_end_s, _ = route.large_community
        if not self._truth.may_hold(router, route.prefix, route.next_hop, route.as_path):
            return "copies no path of a neighbour"
        if not NEVER_IN_AN_AS_PATH.isdisjoint(route.as_path) or not 0 < len(route.as_path) <= 64:
            return "an AS path that nobody may have"
        if set(route.communities) != {self._pop.marker_community, NO_EXPORT}:
            return "other communities than ours"
        if (admin, route.local_pref) != (self._pop.asn, self._pop.override_local_pref):
            return "another local-pref or AS than ours"
        if lease_end_s > self.clock.now_s() + SETTINGS.pacing.lease_s + 1:
            return "a lease that is longer than allowed"
        return None

    # what BMP shows

    def _dump(self) -> None:
        """The BMP of all routers: who they are, their sessions, and what their neighbours announce."""
        for router in self._pop.router:
            self._bmp(router.name, "init", bmp_init_info_sysname=router.bmp_sysname)
            self._bmp(router.name, "peer_up", peer_ip=router.injector.address, peer_asn=self._pop.asn)
        for link in self._pop.link:
            for session in link.sessions:
                self._bmp(link.router, "peer_up", peer_ip=session.peer, peer_asn=session.asn)
                for announced in self._truth.announced[session.peer]:
                    path = {"as_path": " ".join(map(str, announced.as_path)), "med": announced.med, "origin": "i"}
                    self._route(link.router, session.peer, announced.prefix, bgp_nexthop=announced.next_hop, **path)

    def _echo(self, router: str) -> bool:
        """Show over BMP what the speaker of a router holds now; whether that is news."""
        held, shown = dict(self.speakers[router].held), self._shown[router]
        injector = self._pop.routers[router].injector.address
        for prefix in shown.keys() - held.keys():
            self._route(router, injector, prefix, log_type="withdraw")
        for prefix, route in held.items():
            if shown.get(prefix) is not route:
                path = {"as_path": " ".join(map(str, route.as_path)), "local_pref": route.local_pref, "origin": "i"}
                comms = " ".join(route.communities)
                self._route(router, injector, prefix, bgp_nexthop=route.next_hop, comms=comms, **path)
        is_news, self._shown[router] = held != shown, held
        if not is_news:
            self._bmp(router, "stats")
        return is_news

    def _route(self, router: str, peer: str, prefix: str, **more: Any) -> None:
        marks = {"log_type": "update", "is_in": 1, "is_post": 1, "safi": 1, "peer_ip": peer, "ip_prefix": prefix}
        self._bmp(router, "route_monitor", **(marks | more))

    def _bmp(self, router: str, kind: str, **more: Any) -> None:
        address = self._pop.routers[router].ibgp_address
        header = {"event_type": "log", "bmp_router": address, "bmp_router_port": 40_000, "writer_id": "w"}
        value = msgspec.json.encode(header | {"bmp_msg_type": kind} | more)
        self._routes.apply(TP(BMP, 0), [Record(next(self._positions), self.clock.now_s(), None, value)])


def decisions() -> list[bytes]:
    """Decisions made at NOW_S that can be followed."""
    sets = Sets(demo_pop(), truth(), 1, EPOCH_S)
    made = (sets.next(NOW_S) for _ in range(200))
    return [value for value in made if isinstance(read_decision(value), Decision)][:50]


def _later(by_s: float, time: re.Match[bytes]) -> bytes:
    try:
        moment = datetime.fromisoformat(time[0].decode()) + timedelta(seconds=by_s)
    except ValueError:  # a mutated one
        return time[0]
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()


def run_now(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits, and nobody runs a loop")
