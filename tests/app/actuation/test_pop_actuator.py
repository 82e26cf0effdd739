"""One PoP's actuator put together: what each mode does with decisions, and with what an earlier run left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from app.actuation.ownership import KEY, new_owner
from app.actuation.pop_actuator import PopActuator, PopPorts
from app.actuation.timing import Timing
from app.actuator import open_gobgpd
from app.bgp.client import GobgpClient
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.speaker import InjectedRoute
from app.clock import SystemClock
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Injector, Pop
from app.contract.schemas import Actuation, ActuatorStatus, InjectorStatus, Mode
from app.te.routing.path import Path as BgpPath
from app.te.routing.rib import Rib
from tests.app.actuation.pop import POP, PREFIX, decision, exit_at, override
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running
from tests.patience import PATIENCE_S


class Rig:
    """A PopActuator that runs against one real gobgpd, that of r1, in a PoP of one router."""

    def __init__(self, grpc: str, folder: Path, mode: Mode) -> None:
        r1 = msgspec.structs.replace(POP.router[0], injector=Injector("127.0.0.21", grpc))
        links = tuple(link for link in POP.link if link.router == "r1")
        self.pop: Pop = msgspec.structs.replace(POP, router=(r1,), link=links)
        self.rib = Rib()
        self.rib.peer_up("r1", "127.0.0.21", 64512)
        where = exit_at(2)
        self.rib.peer_up("r1", where.peer, 64602)
        self.rib.update("r1", PREFIX, BgpPath(where.peer, where.next_hop, (64602, 65010)))
        self.client = GobgpClient(grpc)
        self.records: list[Actuation] = []
        self.statuses: list[ActuatorStatus] = []
        self.halt_file = folder / "halt"
        ports = PopPorts(
            SystemClock(),
            partial(open_gobgpd, SystemClock(), Gobgp(), self.pop),
            self.records.append,
            lambda: True,
            self.halt_file.exists,
            self.statuses.append,
            new_owner(),
        )
        self.actuator = PopActuator(self.pop, self.rib, mode, Timing(), ports)

    def decide(self, seq: int, mode: Mode = "auto", released: tuple[str, ...] = ()) -> None:
        overrides = [] if released else [override(inject_on=("r1",))]
        self.actuator.follow(decision(SystemClock().now_s(), seq, overrides, released, mode=mode))

    def told(self) -> list[str]:
        return [each.action for each in self.records]

    def is_owner(self) -> bool:
        speaker = self.actuator.reconciler.speakers["r1"]
        return speaker.owned and speaker.listed

    async def held(self) -> set[str]:
        return {path.prefix for path in await self.client.paths()}

    async def until_held(self, prefixes: set[str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.held() != prefixes:
                await asyncio.sleep(0.02)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def another_claim(speaker: GobgpSpeaker) -> None:
    """Wait until the claim in a gobgpd has changed."""
    before = (await speaker.notes())[KEY]
    async with asyncio.timeout(PATIENCE_S):
        while (await speaker.notes())[KEY] == before:
            await asyncio.sleep(0.1)


def leased(prefix: str) -> InjectedRoute:
    """A route by et2 whose lease ends in five minutes."""
    return route(prefix, exit_at(2).next_hop).leased_until(round(SystemClock().now_s()) + 300)


@asynccontextmanager
async def acting(folder: Path, mode: Mode, left: tuple[InjectedRoute, ...] = ()) -> AsyncIterator[Rig]:
    """The rig at work, on a gobgpd that an earlier run left these routes in."""
    async with running(("alone", ALONE)) as [daemon]:
        rig = Rig(daemon.target, folder, mode)
        await rig.client.announce(left)
        task = asyncio.create_task(rig.actuator.run())
        if mode == "auto":
            await rig.until(rig.is_owner)
        yield rig
        await cancelled(task)
        await rig.client.close()


@pytest.mark.services
async def test_auto_announces_and_takes_back(tmp_path: Path) -> None:
    async with acting(tmp_path, "auto") as rig:
        rig.decide(1)
        await rig.until_held({PREFIX})
        rig.decide(2, released=(PREFIX,))
        await rig.until_held(set())
        assert rig.told() == ["announced", "withdrawn"]


@pytest.mark.services
async def test_it_says_that_it_lives_and_what_its_gobgpd_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.actuation.pop_actuator.REPORT_S", 0.02)
    async with acting(tmp_path, "auto") as rig:
        await rig.until(lambda: bool(rig.statuses))
        await rig.until(lambda: rig.statuses[-1].injectors == {"r1": InjectorStatus(True, 0, 0, 0)})
        assert (rig.statuses[-1].mode, rig.statuses[-1].decision, rig.statuses[-1].halted_by) == ("auto", None, ())
        rig.decide(1)
        await rig.until(lambda: rig.statuses[-1].injectors == {"r1": InjectorStatus(True, 1, 1, 0)})
        assert rig.statuses[-1].decision == "7.1"
        rig.halt_file.touch()
        await rig.until(lambda: rig.statuses[-1].halted_by == ("file",))


@pytest.mark.services
async def test_a_decision_of_a_dry_run_is_no_order_in_auto(tmp_path: Path) -> None:
    async with acting(tmp_path, "auto") as rig:
        rig.decide(1, mode="dry-run")
        rig.decide(2, mode="observe")
        rig.decide(3)
        await rig.until_held({PREFIX})
        assert {each.seq for each in rig.records} == {3}


@pytest.mark.services
async def test_a_dry_run_tells_and_touches_nothing(tmp_path: Path) -> None:
    async with acting(tmp_path, "dry-run") as rig:
        rig.decide(1)
        await rig.until(lambda: rig.told() == ["would-announce"])
        rig.decide(2, released=(PREFIX,))
        await rig.until(lambda: rig.told() == ["would-announce", "would-withdraw"])
        assert await rig.held() == set()


@pytest.mark.services
async def test_observe_tells_nothing(tmp_path: Path) -> None:
    async with acting(tmp_path, "observe") as rig:
        rig.decide(1)
        rig.actuator.reconciler.tick()
        assert (rig.told(), await rig.held()) == ([], set())


@pytest.mark.services
async def test_what_was_left_goes_with_its_path(tmp_path: Path) -> None:
    async with acting(tmp_path, "auto", left=(leased(PREFIX),)) as rig:
        assert await rig.held() == {PREFIX}
        rig.actuator.rib_changed(rig.rib.peer_down("r1", exit_at(2).peer))
        await rig.until_held(set())
        assert rig.records[-1].reason == "source-path-lost"


@pytest.mark.services
@pytest.mark.parametrize("mode", ["observe", "dry-run"])
async def test_other_modes_leave_it_to_the_reaper(tmp_path: Path, mode: Mode) -> None:
    async with acting(tmp_path, mode, left=(leased(PREFIX),)) as rig:
        rig.actuator.rib_changed(rig.rib.peer_down("r1", exit_at(2).peer))
        rig.decide(1)
        await rig.until(lambda: rig.actuator.decided_s is not None)
        assert (await rig.held(), await GobgpSpeaker(rig.client.target, MARKER).notes()) == ({PREFIX}, {})


@pytest.mark.services
async def test_from_auto_to_dry_run_what_stands_ends_with_its_lease(tmp_path: Path) -> None:
    async with acting(tmp_path, "auto") as rig:
        rig.decide(1)
        await rig.until_held({PREFIX})
        until_s = rig.actuator.reconciler.overrides.entries[PREFIX].lease_until_s
        rig.actuator.reconfigure(rig.pop, "dry-run")
        rig.decide(2)
        await rig.until(lambda: "would-announce" in rig.told())
        assert rig.actuator.reconciler.overrides.entries[PREFIX].lease_until_s == until_s


@pytest.mark.services
async def test_the_halt_file_takes_everything_back(tmp_path: Path) -> None:
    async with acting(tmp_path, "auto") as rig:
        rig.decide(1)
        await rig.until_held({PREFIX})
        rig.halt_file.touch()
        await rig.until_held(set())
        rig.decide(2)
        rig.halt_file.unlink()
        await rig.until(lambda: not rig.actuator.reconciler.halts)
        rig.decide(3)
        await rig.until_held({PREFIX})


@pytest.mark.services
async def test_a_stopped_actuator_leaves_its_routes(tmp_path: Path) -> None:
    async with running(("alone", ALONE)) as [daemon]:
        rig = Rig(daemon.target, tmp_path, "auto")
        task = asyncio.create_task(rig.actuator.run())
        await rig.until(rig.is_owner)
        rig.decide(1)
        await rig.until_held({PREFIX})
        await cancelled(task)
        assert await rig.held() == {PREFIX}
        await rig.client.close()


@pytest.mark.services
async def test_nothing_is_touched_beside_another_owner(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with acting(tmp_path, "auto") as first:
        first.decide(1)
        await first.until_held({PREFIX})
        second = Rig(first.client.target, tmp_path, "auto")
        task = asyncio.create_task(second.actuator.run())
        await second.until(lambda: second.actuator.reconciler.speakers["r1"].holder is not None)
        second.decide(1)
        second.actuator.rib_changed(second.rib.peer_down("r1", exit_at(2).peer))
        await second.until(lambda: second.actuator.reconciler.speakers["r1"].differing == {PREFIX})
        for _ in range(2):  # it looks as often as the owner renews its claim
            await another_claim(GobgpSpeaker(first.client.target, MARKER))
        assert await second.held() == {PREFIX}
        assert "its gobgpd belongs to" in caplog.text
        await cancelled(task)
        await second.client.close()


@pytest.mark.services
async def test_an_owner_that_stops_makes_room_at_once(tmp_path: Path) -> None:
    async with running(("alone", ALONE)) as [daemon]:
        rig = Rig(daemon.target, tmp_path, "auto")
        task = asyncio.create_task(rig.actuator.run())
        await rig.until(rig.is_owner)
        assert KEY in await GobgpSpeaker(daemon.target, MARKER).notes()
        await cancelled(task)
        assert KEY not in await GobgpSpeaker(daemon.target, MARKER).notes()
        await rig.client.close()


async def test_tcp_without_tls_is_refused_in_auto_mode(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig("192.0.2.9:50051", tmp_path, "auto")
    task = asyncio.create_task(rig.actuator.run())
    await rig.until(lambda: "nothing is announced over TCP" in caplog.text)
    await cancelled(task)
    await rig.client.close()


@pytest.mark.parametrize("mode", ["observe", "dry-run"])
async def test_other_modes_do_without_an_injector(tmp_path: Path, mode: Mode) -> None:
    rig = Rig(f"unix://{tmp_path}/missing/s", tmp_path, mode)
    task = asyncio.create_task(rig.actuator.run())
    rig.decide(1)
    await rig.until(lambda: rig.told() == (["would-announce"] if mode == "dry-run" else []))
    await cancelled(task)
    await rig.client.close()
