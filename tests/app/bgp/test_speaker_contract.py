"""One contract for all speakers: what holds for gobgpd 3 and 4 holds for the fake that the other tests trust."""

import time
from collections.abc import AsyncIterator

import pytest

from app.bgp.blocking import BlockingGobgp
from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient
from app.bgp.dialect import DIALECTS, Dialect
from app.bgp.gobgp import GobgpSpeaker
from app.bgp.memory import MemorySpeaker
from app.bgp.proto import gobgp_pb2 as pb
from app.bgp.speaker import NOTE_KEY_MAX_BYTES, NOTE_MAX_BYTES, BgpSpeaker
from app.bgp.wire import AS_PATH_MAX, SEGMENT_MAX, announcement, read_attributes
from app.clock import ManualClock, SystemClock
from app.errors import SpeakerError
from tests.app.actuation.routes import MARKER, route
from tests.app.bgp.gobgpd import ALONE, running

REAL = [pytest.param(major, marks=pytest.mark.services, id=f"gobgp{major}") for major in (3, 4)]


@pytest.fixture(params=["memory", *REAL])
async def speaker(request: pytest.FixtureRequest) -> AsyncIterator[BgpSpeaker]:
    if request.param == "memory":
        yield MemorySpeaker()
        return
    async with running(("alone", ALONE), major=request.param) as [daemon]:
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


async def test_a_reset_keeps_the_routes(speaker: BgpSpeaker) -> None:
    await speaker.announce([route()])
    await speaker.reset("halted by control " * 20)
    assert await speaker.routes() == {route().prefix: route()}


async def test_notes_are_written_replaced_and_removed(speaker: BgpSpeaker) -> None:
    assert await speaker.notes() == {}
    await speaker.put_note("owner", b"first")
    await speaker.put_note("reaper", bytes(range(256)))
    await speaker.put_note("owner", b"second")
    assert await speaker.notes() == {"owner": b"second", "reaper": bytes(range(256))}
    await speaker.remove_note("reaper")
    await speaker.remove_note("never written")
    assert await speaker.notes() == {"owner": b"second"}


async def test_a_note_has_a_bound(speaker: BgpSpeaker) -> None:
    longest, value = "k" * NOTE_KEY_MAX_BYTES, b"x" * NOTE_MAX_BYTES
    await speaker.put_note(longest, value)
    with pytest.raises(SpeakerError, match=r"note 'key': 1025 bytes, at most 1024 fit"):
        await speaker.put_note("key", value + b"x")
    for key in ("", longest + "k"):
        with pytest.raises(SpeakerError, match=r"a key has 1 to 16 bytes"):
            await speaker.put_note(key, b"")
    assert await speaker.notes() == {longest: value}


async def test_routes_and_notes_do_not_mix(speaker: BgpSpeaker) -> None:
    await speaker.put_note("owner", b"me")
    await speaker.announce([route()])
    assert await speaker.routes() == {route().prefix: route()}
    await speaker.withdraw([route().prefix])
    assert await speaker.routes() == {}
    assert await speaker.notes() == {"owner": b"me"}


@pytest.mark.parametrize("major", REAL)
async def test_a_blocking_speaker_sees_writes_and_withdraws_the_same(major: int) -> None:
    async with running(("alone", ALONE), major=major) as [daemon]:
        speaker, blocking = GobgpSpeaker(daemon.target, MARKER), BlockingGobgp(daemon.target, MARKER)
        kept, gone = route(), route("2001:db8:7::/48", "2001:db8:ffff::9")
        await speaker.announce([kept, gone])
        assert blocking.routes() == await speaker.routes() == {each.prefix: each for each in (kept, gone)}
        blocking.withdraw([gone.prefix])
        blocking.put_note("reaper", b"1")
        assert blocking.routes() == await speaker.routes() == {kept.prefix: kept}
        assert await speaker.notes() == {"reaper": b"1"}
        blocking.close()
        await speaker.close()


@pytest.mark.parametrize("major", REAL)
@pytest.mark.parametrize("ahead_s", [-600.0, 0.0, 600.0])
async def test_a_lease_ends_by_the_clock_of_the_daemons_host_when_it_is_asked_so(major: int, ahead_s: float) -> None:
    """However far that is from the clock that the lease was written by; a renewal counts from its own moment on."""
    host, lease_s = SystemClock(), 300
    sender = ManualClock(host.now_s() + ahead_s)
    leased = [each.leased_until(round(sender.now_s()) + lease_s) for each in (route(), route("198.18.7.0/24"))]
    async with running(("alone", ALONE), major=major) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER, clock=sender)
        there = BlockingGobgp(daemon.target, MARKER, in_host_time=True)

        def left_s() -> dict[str, float]:
            return {prefix: each.lease_end_s - host.now_s() for prefix, each in there.routes().items()}

        await speaker.announce(leased)
        first = left_s()
        assert first == pytest.approx(dict.fromkeys((each.prefix for each in leased), lease_s), abs=3)
        sender.advance(100)  # as if that had passed
        await speaker.announce(leased[:1])
        assert left_s() == pytest.approx(first | {leased[0].prefix: lease_s - 100}, abs=3)
        assert await speaker.routes() == {each.prefix: each for each in leased}
        there.close()
        await speaker.close()


@pytest.mark.parametrize("major", REAL)
async def test_a_blocking_speaker_reads_and_withdraws_ten_thousand_routes(major: int) -> None:
    async with running(("alone", ALONE), major=major) as [daemon]:
        speaker, blocking = GobgpSpeaker(daemon.target, MARKER), BlockingGobgp(daemon.target, MARKER)
        many = [route(f"10.{number >> 8}.{number & 255}.0/24") for number in range(10_000)]
        await speaker.announce(many)
        assert blocking.routes() == {each.prefix: each for each in many}
        blocking.withdraw([each.prefix for each in many[1:]])
        assert blocking.routes() == {many[0].prefix: many[0]}
        blocking.close()
        await speaker.close()


@pytest.mark.services
async def test_a_blocking_speaker_outlives_a_daemon_that_is_frozen_ended_and_started_again() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        blocking = BlockingGobgp(daemon.target, MARKER, Deadline(base_s=2.0, per_1000_s=0.05))
        assert blocking.routes() == {}
        daemon.freeze()
        for ask in (lambda: blocking.withdraw(["192.0.2.0/24"] * 10_000), blocking.routes):
            began_s = time.perf_counter()
            with pytest.raises(SpeakerError, match="no answer in time"):
                ask()
            assert time.perf_counter() - began_s < 10, "2.5 s and 2 s on a machine with time"
        await daemon.stop()
        with pytest.raises(SpeakerError, match="is gobgpd running"):
            blocking.routes()
        await daemon.start()
        blocking.put_note("reaper", b"1")
        assert blocking.routes() == {}
        blocking.close()


@pytest.mark.parametrize("major", REAL)
async def test_ten_thousand_routes_are_read_within_a_few_milliseconds_each_time_but_the_first(major: int) -> None:
    async with running(("alone", ALONE), major=major) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER)
        many = {f"10.{number >> 8}.{number & 255}.0/24": number for number in range(10_000)}
        await speaker.announce(route(prefix, large_community=(64512, number, 0)) for prefix, number in many.items())
        first = await speaker.routes()
        assert {prefix: each.lease_end_s for prefix, each in first.items()} == many
        began_s = time.process_time()
        again = await speaker.routes()
        assert time.process_time() - began_s < 0.2, "0.02 s when this was written, 0.6 s by one message a route"
        assert again == first
        await speaker.announce([route("10.0.0.0/24", large_community=(64512, 77, 0))])
        await speaker.withdraw(["10.0.1.0/24"])
        changed = await speaker.routes()
        assert changed["10.0.0.0/24"].lease_end_s == 77
        assert changed.keys() == many.keys() - {"10.0.1.0/24"}
        await speaker.close()


@pytest.mark.parametrize("major", REAL)
async def test_routes_without_our_marker_are_not_ours(major: int) -> None:
    async with running(("alone", ALONE), major=major) as [daemon]:
        client = GobgpClient(daemon.target)
        await client.announce([route(communities=("64512:1",))])
        speaker = GobgpSpeaker(daemon.target, MARKER)
        assert await speaker.routes() == {}
        await speaker.close()
        await client.close()


@pytest.mark.parametrize("major", REAL)
async def test_a_stopped_daemon_is_an_error_and_a_restarted_one_is_found_empty(major: int) -> None:
    async with running(("alone", ALONE), major=major) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER)
        await speaker.announce([route()])
        await speaker.put_note("owner", b"me")
        await daemon.stop()
        with pytest.raises(SpeakerError, match="is gobgpd running"):
            await speaker.routes()
        await daemon.start()
        assert await _recovered(speaker) == {}
        assert await speaker.notes() == {}
        await speaker.close()


@pytest.mark.services
async def test_the_other_major_version_may_be_started_there() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        speaker = GobgpSpeaker(daemon.target, MARKER)
        await speaker.announce([route()])
        await daemon.stop()
        daemon.major = 4
        await daemon.start()
        assert await _recovered(speaker) == {}
        await speaker.announce([route()])
        assert await speaker.routes() == {route().prefix: route()}
        await speaker.close()


@pytest.mark.services
async def test_a_blocking_speaker_asks_again_which_version_is_there() -> None:
    async with running(("alone", ALONE)) as [daemon]:
        blocking = BlockingGobgp(daemon.target, MARKER)
        assert blocking.routes() == {}
        await daemon.stop()
        daemon.major = 4
        await daemon.start()
        with pytest.raises(SpeakerError, match="another program or version listens here"):
            blocking.routes()
        assert blocking.routes() == {}
        blocking.close()


async def _recovered(speaker: BgpSpeaker) -> object:
    for _ in range(20):  # the channel reconnects within its backoff of at most a second
        try:
            return await speaker.routes()
        except SpeakerError:
            continue
    return await speaker.routes()


@pytest.mark.parametrize(("numbers", "segments"), [(254, [254]), (255, [255]), (256, [255, 1]), (600, [255, 255, 90])])
@pytest.mark.parametrize("dialect", DIALECTS, ids=("3", "4"))
def test_a_long_as_path_is_sent_in_segments_that_one_byte_can_count(
    dialect: Dialect, numbers: int, segments: list[int]
) -> None:
    as_path = tuple(range(65001, 65001 + numbers))
    packed = announcement(dialect, route(as_path=as_path)).pattrs
    [attribute] = [
        each for each in (dialect.unpack(pb.Attribute, one) for one in packed) if isinstance(each, pb.AsPathAttribute)
    ]
    assert [len(segment.numbers) for segment in attribute.segments] == segments
    assert max(segments) <= SEGMENT_MAX
    assert read_attributes(dialect, packed).as_path == as_path


@pytest.mark.parametrize("dialect", DIALECTS, ids=("3", "4"))
def test_an_as_path_that_would_end_gobgpd_is_never_sent(dialect: Dialect) -> None:
    with pytest.raises(AssertionError, match="an AS path of 901 numbers"):
        announcement(dialect, route(as_path=tuple(range(AS_PATH_MAX + 1))))
