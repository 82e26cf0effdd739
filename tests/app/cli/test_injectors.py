"""What `check` learns from the gobgpd beside a router: real ones, with and without the session that they need."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app.bgp.client import GobgpClient
from app.cli.injectors import InjectorAnswer, ask, injector_state, policy, policy_problem
from app.config.gobgp_settings import Gobgp
from app.config.inventory import Injector, Pop, Router
from app.contract.schemas import InjectorStatus
from app.lab.daemons.ports import free_port
from tests.app.actuation.pop import POP
from tests.app.actuation.routes import route
from tests.app.bgp.gobgpd import ALONE, running
from tests.patience import PATIENCE_S

ME, ROUTER = "127.0.7.1", "127.0.7.2"
CONFIG = """
[global.config]
as = 64512
router-id = "{me}"
port = {port}
local-address-list = ["{me}"]
[[neighbors]]
config.neighbor-address = "{peer}"
config.peer-as = 64512
transport.config.local-address = "{me}"
transport.config.remote-port = {port}
transport.config.passive-mode = {passive}
timers.config.connect-retry = 1
"""


def beside(grpc: str) -> tuple[Pop, Router]:
    router = msgspec.structs.replace(POP.router[0], injector=Injector(ME, grpc), ibgp_address=ROUTER)
    return msgspec.structs.replace(POP, router=(router,)), router


async def asked_until(pop: Pop, router: Router, is_right: Callable[[InjectorAnswer], bool]) -> InjectorAnswer:
    """The first answer that is right: sessions take a while to come up, and to fail."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_right(answer := await ask(pop, router, Gobgp())):
            await asyncio.sleep(0.1)
    return answer


def kind(lacks: str | None) -> str | None:
    """What is lacking, without the explanation."""
    return lacks and lacks.partition(":")[0]


@pytest.mark.services
@pytest.mark.parametrize(("restarts", "lacks"), [(True, None), (False, "End-of-RIB")])
async def test_a_router_that_sends_every_path_must_also_say_that_it_has(restarts: bool, lacks: str | None) -> None:
    port = free_port()
    family = """
graceful-restart.config.enabled = {restarts}
[[neighbors.afi-safis]]
config.afi-safi-name = "ipv4-unicast"
add-paths.config.{paths}
"""
    injector = CONFIG.format(me=ME, peer=ROUTER, port=port, passive="false")
    edge = CONFIG.format(me=ROUTER, peer=ME, port=port, passive="true")
    injector += family.format(restarts=str(restarts).lower(), paths="receive = true")
    edge += family.format(restarts=str(restarts).lower(), paths="send-max = 8")
    async with running(("injector", injector), ("edge", edge)) as [daemon, router_daemon]:
        pop, router = beside(daemon.target)
        theirs = GobgpClient(router_daemon.target)
        await theirs.announce([route("203.0.112.0/24", "198.51.100.2")])
        answer = await asked_until(pop, router, lambda found: found.received == 1 and kind(found.lacks) == lacks)
        assert lacks is None or lacks in str(policy_problem(answer))
        await theirs.close()


@pytest.mark.services
async def test_a_session_that_is_up_and_what_passes_it() -> None:
    port = free_port()
    injector = CONFIG.format(me=ME, peer=ROUTER, port=port, passive="false")
    edge = CONFIG.format(me=ROUTER, peer=ME, port=port, passive="true")
    async with running(("injector", injector), ("edge", edge)) as [daemon, router_daemon]:
        pop, router = beside(daemon.target)
        ours, theirs = GobgpClient(daemon.target), GobgpClient(router_daemon.target)
        await ours.announce([route("203.0.113.0/24", "198.51.100.2")])
        await theirs.announce([route("203.0.112.0/24", "198.51.100.2")])
        answer = await asked_until(pop, router, lambda found: found[:4] == (None, 1, 1, 1))
        assert injector_state(router, answer, None) == "ok"
        assert answer.lacks == "ADD-PATH: it sends its best paths only"
        assert policy_problem(answer._replace(lacks=None)) is None
        for wrong, start in (
            (answer, "the injector cannot see that the router lost a path, for want of ADD-PATH"),
            (answer._replace(received=0), "the router sends nothing to its injector"),
        ):
            assert (policy_problem(wrong) or "").startswith(start)
        await ours.close()
        await theirs.close()


@pytest.mark.services
@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (ALONE, f"has no session with {ROUTER} (ibgp_address); it has: none"),
        (ALONE.replace("64512", "64999"), "has AS 64999, the inventory says 64512"),
        (
            CONFIG.format(me=ME, peer=ROUTER, port=free_port(), passive="true"),
            f"the BGP session between {ME} and the router at {ROUTER} is active",
        ),
    ],
    ids=("no-session", "other-as", "session-down"),
)
async def test_a_gobgpd_that_reaches_no_router(config: str, problem: str) -> None:
    async with running(("alone", config)) as [daemon]:
        pop, router = beside(daemon.target)
        answer = await asked_until(pop, router, lambda found: problem in (found.problem or ""))
        assert injector_state(router, answer, InjectorStatus(True, 0, 0, 0)) == answer.problem


async def test_nobody_there(tmp_path: Path) -> None:
    pop, router = beside(f"unix://{tmp_path}/gone.sock")
    answer = await ask(pop, router, Gobgp())
    assert answer.problem is not None
    assert "is gobgpd running" in answer.problem
    assert injector_state(router, answer, None) == answer.problem
    assert policy(answer, None) == {"import": "not readable", "export": "not readable"}


def test_a_socket_of_another_host_is_judged_by_the_actuator_there(tmp_path: Path) -> None:
    dead = InjectorAnswer("no connection")
    _, router = beside(f"unix://{tmp_path}/elsewhere.sock")
    assert injector_state(router, dead, InjectorStatus(True, 0, 0, 0)) == "ok"
    assert injector_state(router, dead, InjectorStatus(False, 0, 0, 0)) == "no connection"
    assert injector_state(router, dead, None) == "no connection"
    (tmp_path / "elsewhere.sock").touch()
    assert injector_state(router, dead, InjectorStatus(True, 0, 0, 0)) == "no connection", "it is here, and dead"
    _, router = beside("192.0.2.1:50051")
    assert injector_state(router, dead, InjectorStatus(True, 0, 0, 0)) == "no connection"


@pytest.mark.parametrize(
    ("answer", "status", "imports", "exports"),
    [
        (InjectorAnswer(None), None, "not readable while no override stands there", "nothing to its injector"),
        (
            InjectorAnswer(None, 3, 2),
            None,
            "only 2 of our 3 routes go to the router; are both families configured?",
            "nothing to its injector",
        ),
        (InjectorAnswer(None, 3, 3), None, "not readable while no actuator watches BMP", "nothing to its injector"),
        (
            InjectorAnswer(None, 3, 3, 7),
            InjectorStatus(True, 3, 3, 1),
            "only 1 of our 3 routes are shown over BMP",
            "7 paths to its injector",
        ),
        (
            InjectorAnswer(None, 3, 3),
            InjectorStatus(True, 3, 3, 3),
            "takes our routes: all 3 are shown over BMP",
            "nothing to its injector",
        ),
    ],
)
def test_policies_as_far_as_anything_shows_them(
    answer: InjectorAnswer, status: InjectorStatus | None, imports: str, exports: str
) -> None:
    assert policy(answer, status) == {"import": imports, "export": f"{exports}; to neighbours not readable"}


@pytest.mark.parametrize(("problems", "said"), [([], "own prefixes only"), (["x"], "see its problems")])
def test_exports_to_neighbours_are_known_where_the_configuration_is_read(problems: list[str], said: str) -> None:
    assert policy(InjectorAnswer(None, received=7), None, problems)["export"] == (
        f"7 paths to its injector; to neighbours {said}"
    )
    assert policy(InjectorAnswer("dead"), None, problems)["export"] == f"to neighbours {said}"
