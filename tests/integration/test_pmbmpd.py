"""BMP of both routers in Kafka: who they are, their sessions, every route, and an override."""

import pytest

from app.contract.topics import BMP
from app.lab.daemons.stack import Stack
from tests.integration.bgp import inject, withdraw
from tests.integration.conftest import PREFIXES, announced
from tests.integration.kafka_reader import Record, records_until

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="session")]


def routes(found: list[Record], log_type: str = "update") -> set[tuple[str, str]]:
    return {(record["peer_ip"], record["ip_prefix"]) for record in found if record.get("log_type") == log_type}


async def test_both_routers_tell_every_route_of_every_neighbour(stack: Stack) -> None:
    expected = {(peer, route.prefix) for peer, every in announced().items() for route in every}
    found = await records_until(
        stack.kafka.broker, BMP.for_pop(stack.pop.name), lambda found: expected <= routes(found)
    )
    names = {r["bmp_init_info_sysname"]: r["bmp_router_port"] for r in found if r.get("bmp_msg_type") == "init"}
    assert set(names) == {"r1", "r2"}
    assert len(set(names.values())) == 2, "the source port tells the two sessions apart"
    told = [record for record in found if record.get("log_type") == "update"]
    assert {(record["is_in"], record["is_post"]) for record in told} == {(1, 1)}


@pytest.mark.parametrize(
    ("router", "injector", "hop"), [("r1", "127.0.0.21", "198.51.100.2"), ("r2", "127.0.0.22", "192.0.2.11")]
)
async def test_an_override_comes_back_with_its_marker(stack: Stack, router: str, injector: str, hop: str) -> None:
    prefix = PREFIXES[0]
    ours = (injector, prefix)
    topic = BMP.for_pop(stack.pop.name)
    await inject(stack.site, router, prefix, hop)
    try:
        found = await records_until(stack.kafka.broker, topic, lambda found: ours in routes(found))
    finally:
        await withdraw(stack.site, router, prefix)
    (seen,) = [record for record in found if (record.get("peer_ip"), record.get("ip_prefix")) == ours]
    assert (seen["bgp_nexthop"], seen["local_pref"], seen["as_path"]) == (hop, 1000, "64602 65010")
    assert seen["comms"].split() == ["64512:911", "no-export"]
    await records_until(stack.kafka.broker, topic, lambda found: ours in routes(found, "withdraw"))
