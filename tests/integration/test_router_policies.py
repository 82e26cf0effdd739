"""What `autopilot render routers` writes, on real daemons: our routes are taken and not passed on, and no others."""

import asyncio

import pytest

from tests.integration.bgp import eventually
from tests.integration.conftest import PREFIX6, PREFIXES
from tests.integration.edges import CANARY, EDGES, Edge, edge

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

DEFAULT = "0.0.0.0/0"
LIMIT = 3


def careless(config: str) -> str:
    """An injector that sends whatever is typed into it."""
    strict = 'default-export-policy = "reject-route"'
    assert strict in config
    return config.replace(strict, 'default-export-policy = "accept-route"')


async def stands(router: Edge, prefix: str, local_pref: int = 1000) -> bool:
    return local_pref in (await router.local_prefs()).get(prefix, set())


@pytest.mark.parametrize("platform", EDGES)
async def test_our_routes_are_taken_nothing_else_is_and_none_is_passed_on(platform: str) -> None:
    async with edge(platform, injector=careless) as router:
        await router.inject(PREFIXES[1], community="64512:912")
        await router.inject(DEFAULT, community="64512:912")
        if platform != "gobgp":  # it cannot match a local-pref, so it sets ours
            await router.inject(PREFIXES[2], local_pref=999)
            await router.inject("20.9.0.0/24", local_pref=100_000)
        for prefix in (PREFIXES[0], PREFIX6):
            await router.inject(prefix)
        await eventually(lambda: stands(router, PREFIXES[0]))
        await eventually(lambda: stands(router, PREFIX6))
        found = await router.local_prefs()
        assert DEFAULT not in found
        assert "20.9.0.0/24" not in found
        assert {prefix for prefix, values in found.items() if values & {999, 1000}} == {PREFIXES[0], PREFIX6}

        await router.announce_canary()
        await eventually(lambda: heard_canary(router))
        assert router.heard() == set(router.pop.own_prefixes), "our routes came without NO_EXPORT"


async def heard_canary(router: Edge) -> bool:
    return CANARY in router.heard()


@pytest.mark.parametrize("platform", EDGES)
async def test_the_injector_sees_every_external_path_while_an_override_is_best(platform: str) -> None:
    hops = {f"198.51.100.{number}" for number in (1, 2, 3)}
    async with edge(platform) as router:

        async def offered(wanted: set[str]) -> bool:
            return await router.offered(PREFIXES[0]) == wanted

        await eventually(lambda: offered(hops))
        await router.inject(PREFIXES[0])
        await eventually(lambda: stands(router, PREFIXES[0]))
        assert await offered(hops)
        await router.runner.kill(f"neighbour-{router.peers[1]}")
        await eventually(lambda: offered(hops - {"198.51.100.2"}))
        assert await stands(router, PREFIXES[0]), "it stands, and only the injector's own view says that it must go"


@pytest.mark.parametrize("platform", EDGES)
async def test_above_maximum_prefix_all_our_routes_go(platform: str) -> None:
    async with edge(platform, maximum_prefix=LIMIT) as router:

        async def holds(count: int) -> bool:
            return len([prefix for prefix, values in (await router.local_prefs()).items() if 1000 in values]) == count

        for number in range(LIMIT):
            await router.inject(f"20.1.{number}.0/24")
        await eventually(lambda: holds(LIMIT))
        for number in (LIMIT, LIMIT + 1):  # FRR counts before it adds: it lets one more in
            await router.inject(f"20.1.{number}.0/24")
        await eventually(lambda: holds(0))


async def test_the_injector_sends_only_what_has_our_marker() -> None:
    async with edge("frr") as router:
        await router.inject(PREFIXES[1], community="64512:912")
        await router.inject(PREFIXES[0])
        await eventually(lambda: stands(router, PREFIXES[0]))
        sent = await router.sent()
        assert sent == {PREFIXES[0]}


ROUTE_MONITORING, STATISTICS, POST_POLICY = 0, 1, 0x40  # RFC 7854, sections 4.1, 4.2
PER_PEER_HEADER, END_OF_RIB_MAX = 42, 30  # bytes


@pytest.mark.parametrize("platform", ["frr", "gobgp"])
async def test_bmp_shows_the_table_after_policy_and_sends_statistics(platform: str) -> None:
    kinds: set[tuple[int, bool]] = set()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                header = await reader.readexactly(6)
                body = await reader.readexactly(int.from_bytes(header[1:5]) - len(header))
                is_end_of_rib = header[5] == ROUTE_MONITORING and len(body) - PER_PEER_HEADER <= END_OF_RIB_MAX
                if header[5] in (ROUTE_MONITORING, STATISTICS) and not is_end_of_rib:
                    kinds.add((header[5], bool(body[1] & POST_POLICY)))
        except asyncio.IncompleteReadError:
            writer.close()

    async def seen() -> bool:
        return (ROUTE_MONITORING, True) in kinds and STATISTICS in {kind for kind, _ in kinds}

    async with edge(platform) as router, await asyncio.start_server(collect, "127.0.0.1", router.site.ports.bmp):
        await eventually(seen)
    assert (ROUTE_MONITORING, False) not in kinds
