"""One PoP's actuator put together: what each mode does with decisions, and with what an earlier run left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from app.actuation.pop_actuator import PopActuator, PopPorts
from app.actuation.reaper import Reaper
from app.actuation.reconciler import Timing
from app.actuator import open_gobgpd
from app.bgp.client import GobgpClient
from app.bgp.lock import WriterLock
from app.bgp.speaker import InjectedRoute
from app.bgp.wire import announcement
from app.clock import SystemClock
from app.config.inventory import Injector, Pop
from app.contract.schemas import Actuation, ActuatorStatus, InjectorStatus, Mode
from app.errors import SpeakerError
from app.te.routing.path import Path as BgpPath
from app.te.routing.rib import Rib
from tests.app.actuation.pop import POP, PREFIX, decision, exit_at, override
from tests.app.actuation.routes import route
from tests.app.bgp.gobgpd import ALONE, running
from tests.patience import PATIENCE_S

MODES: tuple[Mode, ...] = ("observe", "dry-run", "auto")


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
            partial(open_gobgpd, SystemClock(), self.pop),
            self.records.append,
            lambda: True,
            self.halt_file.exists,
            Reaper.start,
            self.statuses.append,
        )
        self.actuator = PopActuator(self.pop, self.rib, mode, Timing(), ports)

    def decide(self, seq: int, mode: Mode = "auto", released: tuple[str, ...] = ()) -> None:
        overrides = [] if released else [override(inject_on=("r1",))]
        self.actuator.follow(decision(SystemClock().now_s(), seq, overrides, released, mode=mode))

    def told(self) -> list[str]:
        return [each.action for each in self.records]

    async def held(self) -> set[str]:
        return {destination.prefix for destination in await self.client.destinations()}

    async def until_held(self, prefixes: set[str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.held() != prefixes:
                await asyncio.sleep(0.02)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def acting(folder: Path, mode: Mode, left: tuple[InjectedRoute, ...] = ()) -> AsyncIterator[Rig]:
    """The rig at work, on a gobgpd that an earlier run left these routes in."""
    async with running(("alone", ALONE)) as [daemon]:
        rig = Rig(daemon.target, folder, mode)
        await rig.client.send([announcement(each) for each in left])
        task = asyncio.create_task(rig.actuator.run())
        await rig.until(lambda: rig.actuator.reconciler.speakers["r1"].listed)
        yield rig
        task.cancel()
        await asyncio.wait([task])
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
@pytest.mark.parametrize("mode", MODES)
async def test_what_was_left_is_guarded_in_every_mode(tmp_path: Path, mode: Mode) -> None:
    async with acting(tmp_path, mode, left=(route(PREFIX, exit_at(2).next_hop),)) as rig:
        assert await rig.held() == {PREFIX}
        rig.actuator.rib_changed(rig.rib.peer_down("r1", exit_at(2).peer))
        await rig.until_held(set())
        assert rig.records[-1].reason == "source-path-lost"


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
        await rig.until(lambda: rig.actuator.reconciler.speakers["r1"].listed)
        rig.decide(1)
        await rig.until_held({PREFIX})
        task.cancel()
        await asyncio.wait([task])
        assert await rig.held() == {PREFIX}
        await rig.client.close()


async def test_auto_does_not_start_beside_another_writer(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "s")
    with pytest.raises(SpeakerError, match="stop it first"):
        await Rig(f"unix://{tmp_path}/s", tmp_path, "auto").actuator.run()
    lock.release()


@pytest.mark.parametrize("mode", ["observe", "dry-run"])
async def test_other_modes_do_without_an_injector(tmp_path: Path, mode: Mode) -> None:
    rig = Rig(f"unix://{tmp_path}/missing/s", tmp_path, mode)
    task = asyncio.create_task(rig.actuator.run())
    rig.decide(1)
    await rig.until(lambda: rig.told() == (["would-announce"] if mode == "dry-run" else []))
    task.cancel()
    await asyncio.wait([task])
    await rig.client.close()
