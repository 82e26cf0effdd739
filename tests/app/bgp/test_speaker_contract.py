"""One contract, two speakers: what holds for the real gobgpd holds for the fake that the other tests trust."""

from collections.abc import AsyncIterator

import pytest

from app.bgp.client import GobgpClient
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.memory import MemorySpeaker
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import BgpSpeaker
from app.bgp.wire import AS_PATH_MAX, SEGMENT_MAX, announcement, read_attributes
from app.errors import SpeakerError
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running


@pytest.fixture(params=["memory", pytest.param("gobgp", marks=pytest.mark.services)])
async def speaker(request: pytest.FixtureRequest) -> AsyncIterator[BgpSpeaker]:
    if request.param == "memory":
        yield MemorySpeaker()
        return
    async with running(("alone", ALONE)) as [daemon]:
        real = GobgpSpeaker(daemon.target, MARKER)
        yield real
        await real.close()


async def test_probe_passes_and_nothing_is_held_at_first(speaker: BgpSpeaker) -> None:
    await speaker.probe()
    assert await speaker.routes() == {}


async def test_what_is_announced_is_read_back_attribute_by_attribute(speaker: BgpSpeaker) -> None:
    routes = [
        route("203.0.113.0/24", "198.51.100.9", med=50),
        route("203.0.113.0/25", "192.0.2.11", origin="incomplete", med=0),
        route("2001:db8:7::/48", "2001:db8:ffff::9", origin="egp", large_community=(64512, 2**32 - 1, 0)),
    ]
    await speaker.announce(routes)
    assert await speaker.routes() == {each.prefix: each for each in routes}


@pytest.mark.parametrize("numbers", [1, 64, 254, 255, 256, 511, AS_PATH_MAX])
async def test_an_as_path_of_any_length_is_read_back(speaker: BgpSpeaker, numbers: int) -> None:
    """gobgpd 3.10 writes the count of a segment into one byte, whatever it is."""
    long = route(as_path=(64602, *range(65001, 65000 + numbers)))
    await speaker.announce([long])
    assert await speaker.routes() == {long.prefix: long}


async def test_announcing_again_replaces(speaker: BgpSpeaker) -> None:
    await speaker.announce([route(next_hop="198.51.100.9")])
    changed = route(next_hop="198.51.100.1", as_path=(64601, 65010), large_community=(64512, 8, 0))
    await speaker.announce([changed])
    await speaker.announce([changed])
    assert await speaker.routes() == {changed.prefix: changed}


async def test_withdrawing_one_leaves_the_others(speaker: BgpSpeaker) -> None:
    kept4, kept6 = route("198.18.7.0/24"), route("2001:db8:8::/48", "2001:db8:ffff::9")
    await speaker.announce([kept4, kept6, route("203.0.113.0/24"), route("2001:db8:7::/48", "2001:db8:ffff::9")])
    await speaker.withdraw(["203.0.113.0/24", "2001:db8:7::/48"])
    assert await speaker.routes() == {kept4.prefix: kept4, kept6.prefix: kept6}


async def test_withdrawing_nothing_withdraws_nothing(speaker: BgpSpeaker) -> None:
    await speaker.announce([route()])
    await speaker.withdraw([])
    await speaker.withdraw(["192.88.99.0/24"])
    assert await speaker.routes() == {route().prefix: route()}


async def test_many_routes_go_in_and_out_in_batches(speaker: BgpSpeaker) -> None:
    many = [route(f"10.{number >> 8}.{number & 255}.0/24") for number in range(1203)]
    await speaker.announce(many)
    assert await speaker.routes() == {each.prefix: each for each in many}
    await speaker.withdraw([each.prefix for each in many])
    assert await speaker.routes() == {}


@pytest.mark.services
async def test_routes_without_our_marker_are_not_ours() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        client = GobgpClient(daemon.target)
        await client.send([announcement(route(communities=("64512:1",)))])
        speaker = GobgpSpeaker(daemon.target, MARKER)
        assert await speaker.routes() == {}
        await speaker.close()
        await client.close()


@pytest.mark.services
async def test_a_stopped_daemon_is_an_error_and_a_restarted_one_is_found_empty() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER)
        await speaker.announce([route()])
        await daemon.stop()
        with pytest.raises(SpeakerError, match="is gobgpd running"):
            await speaker.routes()
        await daemon.start()
        assert await _recovered(speaker) == {}
        await speaker.close()


async def _recovered(speaker: BgpSpeaker) -> object:
    for _ in range(20):  # the channel reconnects within its backoff of at most a second
        try:
            return await speaker.routes()
        except SpeakerError:
            continue
    return await speaker.routes()


@pytest.mark.parametrize(("numbers", "segments"), [(254, [254]), (255, [255]), (256, [255, 1]), (600, [255, 255, 90])])
def test_a_long_as_path_is_sent_in_segments_that_one_byte_can_count(numbers: int, segments: list[int]) -> None:
    sent = announcement(route(as_path=tuple(range(1, numbers + 1))))
    [as_path] = [pb.AsPathAttribute.FromString(each.value) for each in sent.pattrs if "AsPath" in each.type_url]
    assert [len(segment.numbers) for segment in as_path.segments] == segments
    assert max(segments) <= SEGMENT_MAX
    assert read_attributes(sent.pattrs).as_path == tuple(range(1, numbers + 1))


def test_an_as_path_that_would_end_gobgpd_is_never_sent() -> None:
    with pytest.raises(AssertionError, match="an AS path of 1100 numbers"):
        announcement(route(as_path=(64602,) * 1100))
