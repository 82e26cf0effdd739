"""The external paths that a router sends to its own gobgpd: the second witness of a lost path."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.bgp.client import GobgpClient
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.memory import MemorySpeaker
from app.bgp.speaker import BgpSpeaker
from app.bgp.wire import NOTES
from app.clock import SystemClock
from app.errors import SpeakerError
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import Gobgpd, running
from tests.integration.bgp import eventually
from tests.integration.conftest import PREFIX6, PREFIXES
from tests.integration.edges import EDGES, ROUTER_ADDRESS, Edge, edge
from tests.integration.test_gobgp_speaker import EDGE, INJECTOR, config, free_port

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

CLOCK = SystemClock()
PREFIX = PREFIXES[0]
HOP, HOP6 = "198.51.100.1", "2001:db8:ffff::1"
THEIRS = ("64601:1",)


class Memory:
    """What a router sends to the speaker in memory."""

    def __init__(self) -> None:
        self.speaker = MemorySpeaker()

    async def comes(self, prefix: str, hop: str) -> None:
        self.speaker.router_sends(prefix, hop)

    async def sends(self, prefix: str, *hops: str) -> None:
        self.speaker.router_sends(prefix, *hops)

    async def goes(self) -> None:
        self.speaker.router_gone()


class Real:
    """A router that is a gobgpd of the same version as its injector."""

    def __init__(self, router: Gobgpd, injector: Gobgpd) -> None:
        self.speaker = GobgpSpeaker(injector.target, MARKER)
        self._router = router
        self._client = GobgpClient(router.target)

    async def comes(self, prefix: str, hop: str) -> None:
        await self._router.start()
        await eventually(self._answers)
        await self.sends(prefix, hop)

    async def sends(self, prefix: str, *hops: str) -> None:
        if hops:
            await self._client.announce([route(prefix, hops[0], communities=THEIRS)])
        else:
            await self._client.withdraw([prefix])

    async def goes(self) -> None:
        await self._router.stop()

    async def close(self) -> None:
        await self.speaker.close()
        await self._client.close()

    async def _answers(self) -> bool:
        with contextlib.suppress(SpeakerError):
            return bool(await self._client.global_config())
        return False


def all_paths(of: str, *, sends: bool) -> str:
    """The configuration of one side of a session, with ADD-PATH and End-of-RIB."""
    paths = "add-paths.config.send-max = 16" if sends else "add-paths.config.receive = true"
    families = of.replace('-unicast"', f'-unicast"\n{paths}')
    return families.replace(
        "timers.config.hold-time", "graceful-restart.config.enabled = true\ntimers.config.hold-time"
    )


@asynccontextmanager
async def pair(major: int) -> AsyncIterator[tuple[Gobgpd, Gobgpd]]:
    """A router and its injector."""
    port = free_port()
    router = all_paths(config(EDGE, INJECTOR, port, listens=True), sends=True)
    injector = all_paths(config(INJECTOR, EDGE, port, listens=False), sends=False)
    async with running(("router", router), ("injector", injector), major=major) as [router_daemon, injector_daemon]:
        yield router_daemon, injector_daemon


@pytest.fixture(params=["memory", 3, 4], ids=("memory", "gobgp3", "gobgp4"))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Memory | Real]:
    if request.param == "memory":
        yield Memory()
        return
    async with pair(request.param) as (router, injector):
        await router.stop()
        real = Real(router, injector)
        yield real
        await real.close()


@asynccontextmanager
async def watching(speaker: BgpSpeaker) -> AsyncIterator[list[set[str]]]:
    """What the speaker says of changes, in a list that grows."""
    seen: list[set[str]] = []

    async def watch() -> None:
        async for prefixes in speaker.watch_external():
            seen.append(prefixes)  # noqa: PERF401 it never ends

    task = asyncio.create_task(watch())
    try:
        yield seen
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_external_paths_come_and_go_with_their_router(world: Memory | Real) -> None:
    speaker = world.speaker

    async def sent(**hops: set[str]) -> bool:
        wanted = {PREFIX: hops["four"], PREFIX6: hops["six"]}
        return await speaker.external_paths([PREFIX, PREFIX6]) == wanted

    async with watching(speaker) as seen:

        async def told(prefixes: set[str]) -> bool:
            return prefixes in seen

        await eventually(lambda: told(set()))
        assert await speaker.external_paths([PREFIX, PREFIX6]) == {}, "nothing is known without a session"
        seen.clear()
        await world.comes(PREFIX, HOP)
        await eventually(lambda: sent(four={HOP}, six=set()))
        await eventually(lambda: told(set()))
        seen.clear()
        await world.sends(PREFIX6, HOP6)
        await eventually(lambda: told({PREFIX6}))
        await eventually(lambda: sent(four={HOP}, six={HOP6}))
        seen.clear()
        await world.sends(PREFIX)
        await eventually(lambda: told({PREFIX}))
        assert await sent(four=set(), six={HOP6})
        seen.clear()
        await world.goes()
        await eventually(lambda: told(set()))
        assert await speaker.external_paths([PREFIX, PREFIX6]) == {}


@pytest.mark.parametrize("major", [3, 4])
async def test_notes_are_sent_to_no_router(major: int) -> None:
    async with pair(major) as (router, injector):
        speaker, client = GobgpSpeaker(injector.target, MARKER), GobgpClient(router.target)
        await speaker.put_note("owner", b"me")
        await speaker.announce([route(PREFIX, HOP)])

        async def arrived() -> bool:
            return [path.prefix for path in await client.paths()] == [PREFIX]

        await eventually(arrived)  # what was written before it would have come before it
        assert await client.paths(NOTES) == []
        [session] = await client.peers()
        assert sum(family.state.received for family in session.afi_safis) == 1
        assert await speaker.notes() == {"owner": b"me"}
        await speaker.close()
        await client.close()


async def told(seen: list[set[str]]) -> bool:
    return any(PREFIX in prefixes for prefixes in seen)


async def has_begun(seen: list[set[str]]) -> bool:
    """Whether the watch has begun: an empty set comes first, and another when the router has sent everything."""
    return seen.count(set()) > 1


async def has_sent(router: Edge) -> bool:
    """Whether the injector has something from the router, or cannot while an override is best."""
    return bool(await router.offered(PREFIXES[1]))


async def stands(router: Edge) -> bool:
    return 1000 in (await router.local_prefs()).get(PREFIX, set())


@pytest.mark.parametrize("platform", EDGES)
async def test_a_lost_path_is_told_within_a_second_while_an_override_is_best(platform: str) -> None:
    hops = frozenset(f"198.51.100.{number}" for number in (1, 2, 3))
    async with edge(platform) as router:
        speaker = GobgpSpeaker(router.injector, MARKER, router=ROUTER_ADDRESS)

        async def sent(wanted: frozenset[str]) -> bool:
            return (await speaker.external_paths([PREFIX])).get(PREFIX) == wanted

        async with watching(speaker) as seen:
            await eventually(lambda: sent(hops))
            await eventually(lambda: has_begun(seen))
            await router.inject(PREFIX)
            await eventually(lambda: stands(router))
            seen.clear()
            began_s = CLOCK.monotonic_s()
            await router.runner.kill(f"neighbour-{router.peers[1]}")
            await eventually(lambda: told(seen))
            assert CLOCK.monotonic_s() - began_s < 1, "0.01 to 0.07 s when this was written"
            assert await sent(hops - {"198.51.100.2"})
        assert await speaker.external_paths(["198.18.0.0/16"]) == {"198.18.0.0/16": frozenset()}, "an own prefix"
        client = GobgpClient(router.injector)
        assert [path.prefix for path in await client.paths()] == [PREFIX], "what the router sends is not chosen from"
        await client.close()
        await speaker.close()


ONLY_BEST, NO_END = "add-paths.config.receive = true", "graceful-restart.config.enabled = true"


@pytest.mark.parametrize(
    ("platform", "without"), [*((platform, ONLY_BEST) for platform in EDGES), ("frr", NO_END), ("gobgp", NO_END)]
)
async def test_nothing_is_known_of_a_router_that_does_not_say_all(platform: str, without: str) -> None:
    async with edge(platform, injector=lambda text: text.replace(without, "")) as router:
        speaker = GobgpSpeaker(router.injector, MARKER)
        await router.inject(PREFIX)
        await eventually(lambda: stands(router))
        await eventually(lambda: has_sent(router))
        assert await speaker.external_paths([PREFIX, PREFIX6]) == {}
        await speaker.close()


@pytest.mark.parametrize("platform", EDGES)
async def test_our_routes_go_at_once_with_a_gobgpd_that_is_killed(platform: str) -> None:
    """It offers graceful restart, of no family, for the sake of the End-of-RIB."""
    async with edge(platform) as router:
        await router.inject(PREFIX)
        await eventually(lambda: stands(router))
        began_s = CLOCK.monotonic_s()
        await router.runner.kill("injector-r1")

        async def is_gone() -> bool:
            return not await stands(router)

        await eventually(is_gone)
        assert CLOCK.monotonic_s() - began_s < 1
