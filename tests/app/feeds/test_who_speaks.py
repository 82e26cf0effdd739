"""Who sends flows, and what is believed: agents, sampling rates, weights, clocks, and what is said of it."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from app.config.inventory import Pop
from app.contract.schemas import Notice
from app.feeds.accounting import Accounting, Closed
from app.feeds.attribution import SAMPLE_MAX_S
from app.feeds.flow_notices import NOTICES_MAX, flow_notices
from app.te.routing.lpm import PrefixTable
from app.te.traffic.rates import RECORDS_MIN, SampledRates
from app.te.traffic.unplaced import SENDERS_MAX
from app.te.traffic.windows import UNMARKED_MAX_S
from tests.app.feeds.test_accounting import SURGED, T0, WINDOWS, account, feed, flow, purge, table_of
from tests.pops import demo_pop


class Stream:
    """A PoP's flow topic, position by position. `ahead_s` is how far the clock of a collector is ahead."""

    def __init__(self, pop: Pop | None = None) -> None:
        self.account = Accounting(pop or demo_pop(), WINDOWS, table_of)
        self.closed: list[Closed] = []
        self.now_s, self._position = float(T0), 0

    def send(self, *messages: bytes, ahead_s: float = 0.0) -> None:
        for message in messages:
            for _, outcome in self.account.ingest(self._position, [self.now_s + ahead_s], [message]):
                assert isinstance(outcome, Closed)
                self.closed.append(outcome)
            self._position += 1

    def purge(self, *lines: bytes, writer: str = "flows", ahead_s: float = 0.0) -> None:
        """A purge with these lines between its markers."""
        (_, begin), (_, end) = purge(0.0, f"{writer}/{self._position}")
        self.send(begin, *lines, end, ahead_s=ahead_s)

    def usual(self, seconds: int, *more: dict[str, Any], rate: int = 1000) -> None:
        """Purges of the usual traffic, each with lines that differ by `more`."""
        for _ in range(0, seconds, 2):
            second = int(self.now_s) - 1
            lines = [flow(second, rate=rate, ip_dst=f"203.0.113.{host}") for host in range(20)]
            self.purge(*lines, *(flow(second + each.pop("later_s", 0), **each) for each in map(dict, more)))
            self.now_s += 2

    def notices(self) -> list[Notice]:
        return flow_notices(demo_pop(), WINDOWS, self.account.progress)

    def kinds(self) -> set[str]:
        return {notice.kind for notice in self.notices()}

    @property
    def unattributed(self) -> dict[str, int]:
        return self.account.progress.unattributed_bytes


def listed(*rates: int) -> Pop:
    pop = demo_pop()
    routers = tuple(msgspec.structs.replace(router, sampling_rates=rates) for router in pop.router)
    return msgspec.structs.replace(pop, router=routers)


@pytest.mark.parametrize("rate", [999, 1001, 100_000_000])
def test_a_rate_that_the_inventory_does_not_list_is_refused_at_once(rate: int) -> None:
    stream = Stream(listed(1000, 2000))
    stream.send(flow(T0, rate=1000), flow(T0, rate=2000), flow(T0, rate=rate))
    assert stream.unattributed == {"unlisted-sampling-rate": 100 * rate}
    assert stream.account.open[T0, SURGED].size_bytes == 300_000


def test_a_rate_far_above_the_usual_ones_is_refused_and_named() -> None:
    stream = Stream()
    stream.usual(30)
    stream.usual(20, {"rate": 1_000_000})
    assert stream.unattributed == {"unusual-sampling-rate": 10 * 10**8}
    (notice,) = stream.notices()
    assert (notice.kind, notice.where) == ("unusual-sampling-rate", "r1")
    assert "sampling rate 1000000" in notice.text
    assert "sampling_rates" in notice.text


def test_a_router_that_is_configured_anew_is_believed_after_a_window() -> None:
    stream = Stream()
    stream.usual(60, rate=1000)
    stream.usual(60, rate=32768)
    refused = stream.unattributed["unusual-sampling-rate"]
    assert 0 < refused <= 100 * 32768 * 20 * 8  # one window and the rest of the one before
    stream.usual(60, rate=1000)
    assert stream.unattributed["unusual-sampling-rate"] == refused, "a smaller one is always believed"


def test_doubling_is_usual() -> None:
    stream = Stream()
    for rate in (1000, 2000, 4000, 8000, 16000):
        stream.usual(20, rate=rate)
    assert stream.unattributed == {}


@given(st.lists(st.tuples(st.integers(1, 2**40), st.integers(1, 100)), min_size=1, max_size=60))
def test_what_is_usual_does_not_grow_nor_depend_on_order(counted: list[tuple[int, int]]) -> None:
    forth, back = SampledRates(), SampledRates()
    for rate, records in counted:
        forth.count(SURGED, rate, records)
    for rate, records in reversed(counted):
        back.count(SURGED, rate, records)
    forth.learn()
    back.learn()
    assert forth == back
    assert len(forth.past[SURGED]) <= 41
    records = sum(records for _, records in counted)
    refused = sum(records for rate, records in counted if rate > forth.most(SURGED, "r1"))
    assert refused < records / 10
    assert (SURGED in forth.accepted) == (records >= RECORDS_MIN)


@pytest.mark.parametrize(
    ("records", "carried_bytes", "believed"),
    [(5, 0, False), (5, 400_000, True), (5, None, True), (1, 10_000, False), (29, 2_000_000, True), (30, 0, True)],
)
def test_few_samples_of_a_link_add_up_if_its_counters_show_the_traffic(
    records: int, carried_bytes: int | None, believed: bool
) -> None:
    rates = SampledRates()
    for _ in range(40):
        rates.count("r1", 1000, 1000)
        rates.count("idle", 10**8, records, records * 10**5)
        rates.learn()
        assert rates.most("idle", "r1") < 10**4 or believed
        if carried_bytes is not None:
            rates.compare("idle", carried_bytes)
    assert (rates.most("idle", "r1") >= 10**8) == believed
    assert rates.most("other", "r1") < 10**4
    assert rates.most("idle", "r2") >= 10**8


def test_many_samples_of_small_rates_do_not_hide_the_usual_one() -> None:
    rates = SampledRates()
    for rate in range(1, 500):
        rates.count(SURGED, rate, 1)
    rates.count(SURGED, 32768, 1000)
    rates.learn()
    assert rates.accepted[SURGED] >= 4 * 32768


def test_one_sample_cannot_stand_for_more_than_its_link_carries() -> None:
    """100 Gb/s for ten seconds are 125 GB; 1,500 bytes x 10^8 are 150 GB."""
    stream = Stream()
    stream.send(flow(T0, size_bytes=1500, rate=10**8), flow(T0, size_bytes=1200, rate=10**8))
    assert stream.unattributed == {"impossible-weight": 1500 * 10**8}
    assert stream.account.open[T0, SURGED].size_bytes == 1200 * 10**8
    assert 100e9 / 8 * SAMPLE_MAX_S == 125e9


def test_a_packet_has_at_most_64_kilobytes() -> None:
    stream = Stream()
    stream.send(flow(T0, size_bytes=65_600), flow(T0, size_bytes=65_601), flow(T0, size_bytes=70_000, packets=2))
    assert stream.unattributed == {"impossible-weight": 65_601_000}


NO_PLACE: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown-router": ({"peer_ip_src": "192.0.2.99"}, "192.0.2.99", "sfacctd_allow_file"),
    "unknown-interface": ({"iface_out": 999}, "r1", "ifIndex 999, which no link has: add it to the ifindexes"),
    "unknown-ingress": ({"iface_in": 77}, "r1", "ifIndex 77, which is not known: add it to internal_ifindexes"),
    "no input": ({"iface_in": 0x3FFFFFFF}, "r1", "it has to give the input"),
    "transit": ({"iface_in": 102}, "r1", "by link rhv1000/r1/et-0/0/2"),
    "special-interface": ({"iface_out": 0}, "r1", "with ifIndex 0"),
    "unknown-sampling-rate": ({"rate": 0}, "r1", "no sampling rate"),
    "impossible-weight": ({"size_bytes": 70_000}, "r1", "capacity_bps"),
    "clock-skew": ({"later_s": 100}, "r1", "set the clock"),
    "late": ({"later_s": -100}, "r1", "windows.grace_s"),
}


@pytest.mark.parametrize("kind", NO_PLACE)
def test_traffic_without_a_place_is_named_with_what_to_change(kind: str) -> None:
    changes, where, text = NO_PLACE[kind]
    stream = Stream()
    stream.usual(16)
    assert stream.notices() == []
    stream.usual(20, changes)
    (notice,) = [notice for notice in stream.notices() if notice.kind != "clock-ahead"]
    assert notice.kind == {"no input": "unknown-ingress", "transit": "unknown-ingress"}.get(kind, kind)
    assert notice.where == where
    assert text in notice.text
    stream.usual(30)
    assert stream.notices() == [], "it was mended"


def test_traffic_towards_the_inside_is_no_fault() -> None:
    """Many routers sample all their ports in both directions."""
    stream = Stream()
    inbound = {"iface_out": 1, "iface_in": 101, "size_bytes": 1000}, {"iface_out": 2, "iface_in": 1, "size_bytes": 500}
    stream.usual(16, *inbound)
    assert stream.unattributed["not-outbound"] == 8 * 1_500_000
    assert stream.notices() == []


def test_the_largest_are_named_and_memory_is_bounded() -> None:
    stream = Stream()
    stream.usual(16, *({"iface_in": 1000 + number, "size_bytes": 1 + number} for number in range(2 * SENDERS_MAX)))
    assert len(stream.account.progress.unplaced.last) == SENDERS_MAX
    purges = 8
    assert stream.unattributed["unknown-ingress"] == purges * sum(1000 * (1 + n) for n in range(2 * SENDERS_MAX))
    notices = stream.notices()
    assert len(notices) == NOTICES_MAX
    assert f"ifIndex {1000 + SENDERS_MAX - 1}," in notices[0].text


@pytest.mark.parametrize("ahead_s", [5.0, 30.0, 50.0])
@pytest.mark.parametrize("names", [("flows_a", "flows_b"), ("flows", "flows")])
@pytest.mark.parametrize("first", [0, 1])
def test_a_collector_with_a_wrong_clock_is_named_and_makes_nobody_late(
    ahead_s: float, names: tuple[str, str], first: int
) -> None:
    stream = Stream()
    for _ in range(60):
        second = int(stream.now_s)
        right = (names[0], 0.0, flow(second - 1))
        wrong = (names[1], ahead_s, flow(second - 1 + int(ahead_s), peer_ip_src="192.0.2.2"))
        for name, ahead, line in (right, wrong) if first == 0 else (wrong, right):
            stream.purge(line, writer=name, ahead_s=ahead)
        stream.now_s += 2
    progress = stream.account.progress
    assert progress.late_bytes == 0
    assert stream.unattributed == {}
    assert [(notice.kind, notice.where) for notice in stream.notices()] == (
        [("collector-clock", names[1])] if ahead_s > 5 else []
    )
    assert stream.closed[-1].start_s >= T0 + 100, "windows close as time goes on"


def test_an_hour_ahead_only_its_own_bytes_are_refused() -> None:
    stream = Stream()
    stream.usual(20)
    for _ in range(30):
        second = int(stream.now_s)
        stream.purge(flow(second - 1), writer="flows")
        stream.purge(flow(second + 3599, peer_ip_src="192.0.2.2"), writer="other", ahead_s=3600.0)
        stream.now_s += 2
    progress = stream.account.progress
    assert progress.late_bytes == 0
    assert stream.unattributed == {"clock-skew": 29 * 100_000}, "the first came before anybody could know"
    assert len({start_s for start_s, _ in stream.account.open}) <= 4
    assert {"clock-skew", "collector-clock"} <= stream.kinds()


def test_a_clock_that_differs_from_the_brokers_is_named() -> None:
    """Where the broker sets the time of records, all markers have one clock, and only the records tell."""
    stream = Stream()
    stream.usual(20, {"later_s": 10})
    assert "clock-ahead" in stream.kinds()


def test_without_markers_windows_close_a_minute_later_and_memory_is_bounded() -> None:
    stream = Stream()
    stream.usual(20)
    for _ in range(3600):
        stream.send(flow(int(stream.now_s) - 1))
        stream.now_s += 1
    assert len({start_s for start_s, _ in stream.account.open}) <= UNMARKED_MAX_S / WINDOWS.length_s + 2
    assert stream.closed[-1].start_s >= stream.now_s - UNMARKED_MAX_S - 2 * WINDOWS.length_s - WINDOWS.grace_s
    progress = stream.account.progress
    assert progress.late_bytes == 0
    assert stream.kinds() == {"no-purge-markers"}
    stream.usual(30)
    assert stream.kinds() == set()
    assert progress.late_bytes == 0


def test_a_message_of_the_future_between_markers_closes_nothing() -> None:
    """A collector without markers whose clock is an hour ahead, beside one that is in order."""
    stream = Stream()
    for _ in range(60):
        stream.usual(2)
        stream.send(flow(int(stream.now_s) + 3600, peer_ip_src="192.0.2.2"), ahead_s=3600.0)
    assert stream.account.progress.late_bytes == 0
    assert stream.unattributed == {"clock-skew": 60 * 100_000}
    assert stream.closed[-1].start_s >= T0 + 100


@pytest.mark.parametrize("ahead_s", [600.0, 86_400.0])
@pytest.mark.parametrize("messages", [1, 20])
def test_nor_do_two_clocks_whose_purges_overlap(ahead_s: float, messages: int) -> None:
    stream = Stream()
    for number in range(60):
        second = int(stream.now_s)
        (_, begin_b), (_, end_b) = purge(0.0, f"flows_b/{number}")
        (_, begin_a), (_, end_a) = purge(0.0, f"flows_a/{number}")
        stream.send(begin_b, ahead_s=ahead_s)
        stream.send(begin_a)
        for _ in range(messages):
            stream.send(flow(second - 1))
            stream.send(flow(second - 1 + int(ahead_s), peer_ip_src="192.0.2.2"), ahead_s=ahead_s)
        stream.send(end_b, ahead_s=ahead_s)
        stream.send(end_a)
        stream.now_s += 2
    ours = [closed.start_s for closed in stream.closed if closed.start_s < T0 + 200]
    assert stream.account.progress.late_bytes == 0
    assert ours[-1] >= T0 + 90
    assert not stream.account.progress.unmarked


@pytest.mark.parametrize("ahead_s", [5, 30, 600])
def test_without_markers_windows_close_by_the_slower_clock(ahead_s: int) -> None:
    stream = Stream()
    for _ in range(300):
        second = int(stream.now_s)
        stream.send(flow(second - 1 + ahead_s, peer_ip_src="192.0.2.2"), ahead_s=ahead_s)
        stream.send(flow(second - 1))
        stream.now_s += 1
    assert stream.account.progress.late_bytes == 0
    assert stream.account.progress.unmarked
    assert stream.closed[-1].start_s >= T0 + 200


def test_a_topic_that_never_had_a_marker_closes_its_windows_all_the_same() -> None:
    stream = Stream()
    for _ in range(200):
        stream.send(flow(int(stream.now_s) - 1))
        stream.now_s += 1
    assert [closed.start_s for closed in stream.closed][:2] == [T0 - 10, T0]
    assert len(stream.account.progress.heard_s) == 1


def test_a_router_is_heard_by_whatever_it_sends() -> None:
    acc = account()
    feed(acc, [(T0 + 1.0, flow(T0)), (T0 + 1.0, flow(T0, peer_ip_src="192.0.2.2", iface_in=77)), *purge(T0 + 2)])
    feed(acc, [(T0 + 3.0, flow(T0)), (T0 + 3.0, flow(T0, peer_ip_src="192.0.2.99")), *purge(T0 + 4)], first=4)
    assert acc.progress.heard_s == {"r1": T0 + 4, "r2": T0 + 2}


def test_what_pmacct_could_not_read_goes_to_no_default_route() -> None:
    table = PrefixTable.build(["0.0.0.0/0", "::/0"])
    acc = Accounting(demo_pop(), WINDOWS, lambda: table)
    lines = [flow(T0, ip_dst=host) for host in ("0.0.0.0", "::", "203.0.113.9", "2001:db8::9")]
    feed(acc, [(T0 + 1.0, b"\n".join(lines))])
    assert (acc.open[T0, SURGED].size_bytes, acc.open[T0, SURGED].unroutable_bytes) == (200_000, 200_000)
