"""Cases of senders: rates that follow the speed of a port, interfaces that are not filled in, and wrong clocks."""

import pytest

from app.feeds.flow_notices import flow_notices
from tests.app.feeds.test_accounting import SURGED, WINDOWS, flow
from tests.app.feeds.test_who_speaks import Stream
from tests.pops import demo_pop

OTHER = 102  # ifIndex of r1/et-0/0/2


def test_ports_of_different_speed_have_different_rates() -> None:
    """sonic-net/SONiC pull 746: 1 in 1,000 on 1 Gb/s and 1 in 100,000 on 100 Gb/s, on one switch.

    Right: all of it counts, for what is usual is known by link; a busy link does not decide for the others.
    """
    stream = Stream()
    for _ in range(30):
        stream.usual(4, *({"iface_out": OTHER, "rate": 100_000, "ip_dst": f"203.0.113.{n}"} for n in range(4)))
    assert stream.unattributed == {}


@pytest.mark.parametrize("records", [1, 3, 5])
def test_a_fast_port_with_few_samples_counts_after_thirty_of_them(records: int) -> None:
    """As above, with so few samples of the fast port that no window shows what is usual on it.

    Right: they add up; from the thirtieth on all count.
    """
    stream = Stream()
    fast = [{"iface_out": OTHER, "rate": 100_000, "ip_dst": f"203.0.113.{n}"} for n in range(records)]
    for second in range(0, 600, 2):
        stream.usual(2, *(fast if second % 10 == 0 else []))
    assert stream.unattributed["unusual-sampling-rate"] <= (30 + 2 * records) * 100 * 100_000
    assert stream.notices() == []


@pytest.mark.parametrize(("before", "after"), [(25_000, 100_000), (100_000, 400_000), (40_000, 1000)])
def test_the_rate_follows_a_port_that_changes_its_speed(before: int, after: int) -> None:
    """sonic-net/sonic-swss pull 2799: the rate is derived from the speed, also when it is negotiated again.

    Right: every record counts with its own rate at once.
    """
    stream = Stream()
    stream.usual(60, rate=before)
    stream.usual(60, rate=after)
    assert stream.unattributed == {}


def test_from_1_to_100_gigabits_it_takes_a_window() -> None:
    """As above, a hundredfold: not to be told from a forged rate by one window.

    Right: named, not counted, for two windows at most; counted from then on.
    """
    stream = Stream()
    stream.usual(60, rate=1000)
    stream.usual(6, rate=100_000)
    assert {notice.kind for notice in stream.notices()} == {"unusual-sampling-rate"}
    refused = stream.unattributed["unusual-sampling-rate"]
    stream.usual(60, rate=100_000)
    assert stream.unattributed["unusual-sampling-rate"] == refused <= 2 * 5 * 20 * 100 * 100_000
    assert stream.notices() == []


@pytest.mark.parametrize(
    ("iface_in", "source"),
    [(0x3FFFFFFF, "pavel-odintsov/fastnetmon issue 311, akvorado/akvorado issue 153"), (0, "sflow/sflowtool issue 7")],
)
def test_samples_without_an_input_are_named(iface_in: int, source: str) -> None:
    """hsflowd gives the host itself as input of what it sends, switches give 0.

    Right: such traffic cannot be steered by where it entered; the notice says which agent has to fill the input in.
    """
    stream = Stream()
    stream.usual(30, {"iface_in": iface_in})
    (notice,) = stream.notices()
    assert (notice.kind, notice.where) == ("unknown-ingress", "r1")
    assert "192.0.2.1" in notice.text
    assert f"ifIndex {iface_in}" in notice.text


@pytest.mark.parametrize("ahead_s", [-40.0, 40.0])
def test_the_clock_of_one_of_three_collectors_is_wrong(ahead_s: float) -> None:
    """OpenNMS/opennms pulls 2568 and 4156: clocks that differ raise an alarm.

    Right: the one that differs is named, and the bytes of the other two are not late.
    """
    stream = Stream()
    for _ in range(60):
        for name, ahead in (("a", 0.0), ("b", 0.0), ("c", ahead_s)):
            agent = "192.0.2.2" if name == "c" else "192.0.2.1"
            line = _line(int(stream.now_s + ahead) - 1, agent)
            stream.purge(line, writer=name, ahead_s=ahead)
        stream.now_s += 2
    assert stream.account.progress.late_bytes == 0
    (notice,) = flow_notices(demo_pop(), WINDOWS, stream.account.progress)
    assert (notice.kind, notice.where) == ("collector-clock", "c")
    assert f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'}" in notice.text


def test_a_collector_whose_clock_is_in_another_time_zone_does_not_stop_the_others() -> None:
    """pmacct/pmacct issue 171: times six hours in the past.

    Right: its own bytes are late, the windows of the others close as time goes on, and both are named.
    """
    stream = Stream()
    stream.usual(30)
    for _ in range(60):
        stream.purge(_line(int(stream.now_s) - 1, "192.0.2.1"), writer="flows")
        stream.purge(_line(int(stream.now_s) - 6 * 3600 - 1, "192.0.2.2"), writer="far", ahead_s=-6 * 3600.0)
        stream.now_s += 2
    assert stream.account.progress.late_bytes == 60 * 100_000
    assert stream.closed[-1].start_s >= stream.now_s - 30
    assert stream.closed[-1].sums[SURGED].size_bytes == 5 * 100_000
    assert {"collector-behind", "collector-clock", "late"} == {notice.kind for notice in stream.notices()}


@pytest.mark.parametrize("ahead_s", [20, 300, 3600])
@pytest.mark.parametrize("pause_s", [10, 60, 200])
def test_a_restart_of_the_right_collector_costs_its_pause_only(ahead_s: int, pause_s: int) -> None:
    """sfacctd is upgraded on one host, while the clock of the other is ahead.

    Right: nothing is late, windows go on, and both are named.
    """
    stream = Stream()
    for second in range(0, 100 + pause_s, 2):
        now_s = int(stream.now_s)
        if not 60 <= second < 60 + pause_s:
            stream.purge(_line(now_s - 1, "192.0.2.1"), writer="a")
        elif second == 58 + pause_s:
            assert stream.closed[-1].start_s >= now_s - 32
            assert {"collector-clock", "collector-silent"} <= stream.kinds() or pause_s == 10
        stream.purge(_line(now_s - 1 + ahead_s, "192.0.2.2"), writer="b", ahead_s=float(ahead_s))
        stream.now_s += 2
    assert stream.account.progress.late_bytes == 0


@pytest.mark.parametrize("ahead_s", [40, 300, 3600])
def test_at_the_start_flows_of_the_right_collector_come_before_its_first_marker(ahead_s: int) -> None:
    """As above, and the first marker of all is that of the clock that is ahead."""
    stream = Stream()
    stream.send(_line(int(stream.now_s) - 1, "192.0.2.1"))
    for _ in range(30):
        now_s = int(stream.now_s)
        stream.purge(_line(now_s - 1 + ahead_s, "192.0.2.2"), writer="b", ahead_s=float(ahead_s))
        stream.purge(_line(now_s - 1, "192.0.2.1"), writer="a")
        stream.now_s += 2
    assert stream.account.progress.late_bytes == 0


@pytest.mark.parametrize("back_s", [200, 3600])
def test_a_clock_that_is_set_back_is_named_while_its_bytes_are_late(back_s: int) -> None:
    """The only collector was ahead, and somebody sets its clock right.

    Right: windows go on, slowly, so that there is a record that says so, and its clock catches up with them.
    """
    stream = Stream()
    stream.now_s += back_s
    stream.usual(60)
    stream.now_s -= back_s
    closed = len(stream.closed)
    stream.usual(90)
    assert closed < len(stream.closed) <= closed + 2
    assert "collector-behind" in stream.kinds()


def test_traffic_for_destinations_without_a_route_is_named() -> None:
    """The routers report another RIB over BMP than the one that counts, or not all of their neighbours."""
    stream = Stream()
    for _ in range(20):
        stream.purge(*(flow(int(stream.now_s) - 1, ip_dst=f"198.18.0.{host}") for host in range(20)))
        stream.now_s += 2
    (notice,) = stream.notices()
    assert (notice.kind, notice.where) == ("unroutable", "r1")
    assert notice.text.startswith("100.00% of the bytes leave r1 (192.0.2.1)")


def test_what_others_chose_is_shown_without_its_escapes() -> None:
    stream = Stream()
    for _ in range(15):
        stream.purge(_line(int(stream.now_s) - 1, "\x1b[2J\nevil"))
        stream.purge(writer="\x1b[31m\nB", ahead_s=30.0)
        stream.now_s += 2
    notices = stream.notices()
    assert {notice.kind for notice in notices} == {"unknown-router", "collector-clock"}
    assert all(notice.where.isprintable() and notice.text.isprintable() for notice in notices)
    assert "?[2J?evil" in {notice.where for notice in notices}


def _line(at_s: int, agent: str) -> bytes:
    return flow(at_s, peer_ip_src=agent)
