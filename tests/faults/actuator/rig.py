"""The actuator as a process, its gobgpds with a reaper beside each, real edges, Kafka, and decisions in it.

Decisions are made here: valid ones, renewed every few seconds as telemetry does, until a row stops that.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.bgp import calls
from app.bgp.client import OPTIONS, GobgpClient
from app.bgp.proto import gobgp_pb2 as pb
from app.clock import Clock, SystemClock, utc
from app.config.inventory import Pop, load_pop
from app.config.settings import Kafka
from app.contract import topics
from app.contract.schemas import Decision, Exit, NaturalExit, Override, SourcePath
from app.errors import DaemonError
from app.kafka import client
from app.kafka.read import read_topic
from app.lab.daemons import exabgp, frr, gobgp
from app.lab.daemons.kafka import reached_at, start_kafka
from app.lab.daemons.machine import Site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Runner
from app.lab.daemons.stack import Stack, StackOptions
from app.lab.pop.model import Announcement
from tests.faults.actuator.verdict import GIVE_UP_S, Trial
from tests.faults.worker import Worker
from tests.integration.bgp import eventually
from tests.keys import UNSIGNED
from tests.pops import INVENTORY

WINDOWS = {"length_s": 2, "grace_s": 2, "refresh_s": 1}  # short ones, for `lease_s` may not be shorter than three
ORIGIN_AS = 65010
NATURAL_PEER = "127.0.0.31"
RECORD_BYTES_MAX = 64 << 20  # before compression, which brings 10,000 overrides to some 0.1 MB


class Renewal(NamedTuple):
    """How long a decision lasts, and how often one is made, in seconds."""

    lease_s: float
    every_s: float


SHORT = Renewal(20.0, 3.0)
DEFAULT = Renewal(300.0, 10.0)  # `pacing.lease_s` and `windows.length_s`
LEASE_S = SHORT.lease_s


class Place(NamedTuple):
    """One PoP and where its daemons run."""

    pop: Pop
    site: Site
    runner: Runner

    def target(self, router: str) -> str:
        """The gRPC of a router's injector."""
        return gobgp.target(self.site, f"injector-{router}")


def prefixes(count: int, first: int = 0) -> list[str]:
    """So many different /24, from number `first` on."""
    return [f"20.{number >> 8}.{number & 255}.0/24" for number in range(first, first + count)]


def move(pop: Pop, peer: str, prefix: str) -> Override:
    """A move of this prefix to the session with this neighbour, away from NATURAL_PEER."""
    [(link, session)] = [(link, session) for link in pop.link for session in link.sessions if session.peer == peer]
    [natural] = [link for link in pop.link if NATURAL_PEER in [session.peer for session in link.sessions]]
    return Override(
        prefix=prefix,
        exit=Exit(link.router, f"{pop.name}/{link.router}/{link.name}", peer, session.next_hops[0]),
        inject_on=tuple(pop.routers),
        natural=(NaturalExit(natural.router, f"{pop.name}/{natural.router}/{natural.name}", 1.0),),
        source_path=SourcePath((session.asn, ORIGIN_AS), "igp", 10),
        bps=1e9,
        reason="a link is congested",
    )


def announced(pop: Pop, peer: str, routes: Sequence[str]) -> list[Announcement]:
    """What a neighbour announces so that a `move` to it copies its path."""
    [session] = [session for link in pop.link for session in link.sessions if session.peer == peer]
    return [Announcement(prefix, session.next_hops[0], (session.asn, ORIGIN_AS), med=10) for prefix in routes]


class Broker(NamedTuple):
    """Where Kafka runs."""

    site: Site
    runner: Runner

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """It accepts connections and answers nothing."""
        pid = self.runner.pid("kafka")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def dead(self) -> AsyncIterator[None]:
        """It is killed, and started again afterwards."""
        await self.runner.kill("kafka")
        yield
        await self.runner.stop("kafka")
        await start_kafka(self.runner, self.site)


class Decider:
    """Stands in for telemetry: publishes a decision for every PoP in `overrides`, again and again."""

    def __init__(self, kafka: Kafka, clock: Clock, renewal: Renewal = SHORT) -> None:
        self.overrides: dict[str, tuple[Override, ...]] = {}
        self.epoch = int(clock.now_s())
        self.decided_s = clock.monotonic_s()  # when the last decision was made that had any override
        self._kafka = kafka
        self._clock = clock
        self._renewal = renewal
        self._seq = 0

    async def run(self) -> None:
        """Until it is cancelled; a broker that does not answer is waited for."""
        options = {"compression_type": "gzip", "max_request_size": RECORD_BYTES_MAX}
        async with client.started(client.producer(self._kafka, **options)) as producer:
            while True:
                for pop in self.overrides:
                    value = msgspec.json.encode(self.decision(pop))
                    with suppress(KafkaError):
                        await producer.send_and_wait(topics.DECISIONS.for_pop(pop), value, key=pop.encode())
                await asyncio.sleep(self._renewal.every_s)

    def decision(self, pop: str, **changes: Any) -> Decision:
        """The next decision of a PoP, with these keys changed."""
        self._seq += 1
        now = utc(self._clock.now_s())
        if self.overrides[pop]:
            self.decided_s = self._clock.monotonic_s()
        made = Decision(
            pop=pop,
            epoch=self.epoch,
            seq=self._seq,
            mode="auto",
            window_start=now,
            made_at=now,
            add_until=now + timedelta(seconds=30),
            hold_until=now + timedelta(seconds=self._renewal.lease_s),
            overrides=self.overrides[pop],
        )
        return msgspec.structs.replace(made, **changes)


class ActuatorRig:
    """One cell: its actuator, its gobgpds, each with a reaper beside it, and a Decider."""

    lease_s = LEASE_S

    def __init__(self, places: Sequence[Place], broker: Broker, settings_file: Path, decider: Decider) -> None:
        self.places = {place.pop.name: place for place in places}
        self.broker = broker
        self.settings_file = settings_file
        self.decider = decider
        self.clock = SystemClock()
        self.actuator = self.process("actuator", "actuator", "--cell", self.cell)

    @property
    def cell(self) -> str:
        """The name of the cell: that of its first PoP."""
        return next(iter(self.places))

    @property
    def kafka(self) -> Kafka:
        """How to reach the broker."""
        return reached_at(f"127.0.0.1:{self.broker.site.ports.kafka}")

    def process(self, name: str, *command: str, settings_file: Path | None = None) -> Worker:
        """A supervised `autopilot` command with these settings or others, not started."""
        config = settings_file or self.settings_file
        argv = (sys.executable, "-m", "app", *command, "--config", str(config))
        return Worker(argv, config.parent / f"{name}.log", config.parent / "data", 0, self.clock)

    async def command(self, *arguments: str) -> None:
        """Run an `autopilot` command to its end; it must not fail."""
        argv = (sys.executable, "-m", "app", *arguments, "--config", str(self.settings_file))
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
        assert await process.wait() == 0, f"autopilot {' '.join(arguments)} failed"

    @property
    def halt_file(self) -> Path:
        return self.settings_file.parent / "halt"

    async def start(self, exit_: AsyncExitStack) -> None:
        """Start actuator and Decider; `exit_` ends them."""
        await self.actuator.start()
        exit_.push_async_callback(self.actuator.stop)
        deciding = asyncio.create_task(self.decider.run(), name="decider")
        exit_.push_async_callback(stop, deciding)

    async def write(self, topic: str, key: bytes, value: bytes) -> None:
        """Write any record."""
        async with client.started(client.producer(self.kafka)) as producer:
            await producer.send_and_wait(topic, value, key=key)

    async def decide_once(self, pop: str, **changes: Any) -> None:
        """Publish one more decision of a PoP, with these keys changed."""
        await self.publish(self.decider.decision(pop, **changes))

    async def publish(self, decision: Decision) -> None:
        """Publish a decision as it is."""
        await self.write(topics.DECISIONS.for_pop(decision.pop), decision.pop.encode(), msgspec.json.encode(decision))

    async def told(self, prefix: str) -> str:
        """The first thing that the actuator says it did with a prefix, such as `announced` or `refused`."""
        actions: list[str] = []

        async def is_told() -> bool:
            records = [msgspec.json.decode(one.value) for one in await read_topic(self.kafka, topics.ACTUATIONS.name)]
            actions.extend(record["action"] for record in records if record["prefix"] == prefix)
            return bool(actions)

        await self.until(is_told, lambda: f"nothing was done with {prefix}")
        return actions[0]

    async def is_running(self) -> None:
        """Wait for two signs of life that are new: what was sent before the first may be of the process before."""
        topic = topics.ACTUATOR_STATUS.name
        before = len(await read_topic(self.kafka, topic))

        async def lives() -> bool:
            return len(await read_topic(self.kafka, topic)) >= before + 2

        await self.until(lives, lambda: "the actuator gave no sign of life")

    async def until(self, condition: Callable[[], Awaitable[bool]], problem: Callable[[], str]) -> None:
        """Wait for a condition; DaemonError says the problem, and how the actuator ended meanwhile."""
        try:
            await eventually(condition, GIVE_UP_S)
        except TimeoutError:
            ends = f"; the actuator ended with {list(self.actuator.exits.elements())}" if self.actuator.exits else ""
            raise DaemonError(f"{problem()} after {GIVE_UP_S:g} s{ends}") from None

    def no_exits(self, trial: Trial) -> None:
        """Note as a problem that the actuator ended by itself."""
        ends = self.actuator.exits.copy()
        del ends[-signal.SIGKILL]
        trial.problems += [f"the actuator ended with {code}" for code in ends.elements()]

    async def kill_gobgpd(self, place: Place, router: str) -> None:
        """SIGKILL an injector, and do not start it again."""
        os.kill(place.runner.pid(f"injector-{router}"), signal.SIGKILL)
        await place.runner.stop(f"injector-{router}")

    async def restart_gobgpd(self, place: Place, router: str) -> None:
        """Start an injector again that was killed, by us or by its reaper."""
        await place.runner.stop(f"injector-{router}")
        Path(place.target(router).removeprefix("unix://")).unlink(missing_ok=True)  # a killed one leaves it behind
        place.runner.ended.pop(f"injector-{router}", None)
        await gobgp.start_injector(place.runner, place.site, place.pop, place.pop.routers[router])


class EdgeRig(ActuatorRig):
    """One PoP with two real edges: gobgpd (r1) and FRR (r2)."""

    def __init__(self, stack: Stack, decider: Decider) -> None:
        place = Place(stack.pop, stack.site, stack.runner)
        super().__init__([place], Broker(stack.site, stack.runner), stack.settings_file, decider)
        self.stack = stack
        self.pop = stack.pop
        self.place = place
        self._r1 = GobgpClient(stack.r1_grpc)
        self._channel = grpc.aio.insecure_channel(stack.r1_grpc, options=OPTIONS)

    async def at_edges(self) -> dict[str, int]:
        """How many of our routes each edge has from its injector; 0 without a session."""
        r1, r2 = self.pop.router
        request = pb.ListPeerRequest(address=r1.injector.address)
        peers = self._channel.unary_stream(*calls.method(await self._r1.dialect(), "ListPeer"))
        [peer] = [answer.peer async for answer in peers(request, timeout=30.0)]  # without the costly advertised ones
        up = peer.state.session_state == pb.PeerState.ESTABLISHED
        summary = await frr.vty(self.stack.r2_vty, "show bgp ipv4 unicast summary json")
        shown = summary.get("peers", {}).get(r2.injector.address, {})
        return {
            "r1": sum(family.state.accepted for family in peer.afi_safis) if up else 0,
            "r2": shown["pfxRcd"] if shown.get("state") == "Established" else 0,
        }

    async def count(self) -> int:
        """Our routes on both edges."""
        return sum((await self.at_edges()).values())

    async def all_there(self, count: int) -> None:
        """Wait until both edges have so many routes from their injectors."""

        async def are() -> bool:
            return set((await self.at_edges()).values()) == {count}

        await self.until(are, lambda: f"not all of {count} overrides are on both edges")

    async def all_published(self, count: int) -> None:
        """Wait until `actuations` has so many records: each route is announced and confirmed."""

        async def are() -> bool:
            async with client.started(client.consumer(self.kafka)) as consumer:
                partition = TopicPartition(topics.ACTUATIONS.name, 0)
                ends: int = (await consumer.end_offsets([partition]))[partition]
                return ends >= count

        await self.until(are, lambda: f"not all of {count} records are in {topics.ACTUATIONS.name}")

    async def start_neighbour(self, peer: str, routes: Sequence[Announcement]) -> None:
        """Start a neighbour again with other routes, and wait until its edge has them."""
        [link] = [link for link in self.pop.link if peer in [session.peer for session in link.sessions]]
        [session] = [session for session in link.sessions if session.peer == peer]
        router, name = self.pop.routers[link.router], exabgp.name_of(peer)
        await self.stack.runner.stop(name)
        place = self.place
        await exabgp.start_neighbour(place.runner, place.site, self.pop, router, session, routes)
        wanted = {peer: len(routes)}
        up = gobgp.established(self.stack.r1_grpc, wanted)
        await place.runner.ready(name, up if router.name == "r1" else frr.established(self.stack.r2_vty, wanted))

    async def updates_received(self) -> int:
        """How many UPDATE messages both edges have had from their injectors since their sessions came up."""
        r1, r2 = self.pop.router
        neighbour = await gobgp.gobgp(self.stack.r1_grpc, "neighbor", r1.injector.address)
        shown = await frr.vty(self.stack.r2_vty, f"show bgp neighbors {r2.injector.address} json")
        messages = neighbour["state"]["messages"]["received"]
        return int(messages.get("update", 0)) + int(shown[r2.injector.address]["messageStats"]["updatesRecv"])

    def leaked(self) -> int:
        """Announcements that reached an eBGP neighbour, of prefixes that are not the PoP's own."""
        peers = [session.peer for link in self.pop.link for session in link.sessions]
        heard = [announcement.split()[0] for peer in peers for announcement in self.stack.received(peer)]
        return sum(prefix not in self.pop.own_prefixes for prefix in heard)


def with_budget(text: str, overrides: int) -> str:
    """An inventory that allows so many overrides."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("max_moved_share"))
    budget = f"max_moved_share = 1.0\nmax_overrides = {overrides}\nmax_new_per_cycle = {overrides}\n"
    limit = f"maximum_prefix = {2 * overrides}\nbmp_sysname"
    return kept.replace("[budgets]\n", f"[budgets]\n{budget}").replace("bmp_sysname", limit) + "\n"


@asynccontextmanager
async def on_edges(
    trial: Trial, routes: Mapping[str, Sequence[str]], budget: int, renewal: Renewal = SHORT
) -> AsyncIterator[EdgeRig]:
    """The stack with the actuator, a reaper beside each gobgpd, and a Decider that decides nothing yet.

    `routes` are the prefixes that each neighbour announces at the start, by its address.
    """
    pacing = {"lease_s": renewal.lease_s}
    settings = {"mode": "auto", "trust": UNSIGNED, "windows": WINDOWS, "pacing": pacing, "actuator_port": free_port()}
    inventory = trial.run_dir / INVENTORY.name
    inventory.write_text(with_budget(INVENTORY.read_text(encoding="utf-8"), budget), encoding="utf-8")
    pop = load_pop(inventory)
    starts_with = {peer: announced(pop, peer, prefixes) for peer, prefixes in routes.items()}
    options = StackOptions(run_dir=trial.run_dir / "stack", settings=settings)
    async with AsyncExitStack() as exit_:
        stack = await exit_.enter_async_context(Stack(inventory, starts_with, options))
        decider = Decider(stack.kafka, SystemClock(), renewal)
        rig = EdgeRig(stack, decider)
        await rig.start(exit_)
        yield rig


async def stop(task: "asyncio.Task[None]") -> None:
    """Cancel a task; what ended it before is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """The most memory that a process has had resident, in MB of 10^6 bytes."""
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6
