"""Ports' counters of the field: what each closed window says of the link, and that nothing is moved without cause."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from tests.cases.ports import LINK, Case, PortsRig, Seen, feed, load, run

PHASES = (0.0, 1.3, 3.0, 4.9)  # seconds from a poll to the first window


class Right(NamedTuple):
    """What is right: loads in Gb/s (within 5 %), states of the feed, whether congestion opens and prefixes move.

    None: not said. `gaps` says that windows without counters are in order; otherwise there must be none.
    """

    carried: float | None = None
    dropped: float | None = 0.0
    capacity: float | None = 100.0
    feeds: tuple[str, ...] = ("live",)
    congested: bool = False
    moved: bool = False
    gaps: bool = False
    notices: frozenset[str] = frozenset()


def check(seen: Sequence[Seen], right: Right, skipped: int = 0) -> None:
    """Hold every window against what is right, after the first ones that are `skipped`."""
    assert len(seen) > skipped
    for window in seen[skipped:]:
        link = window.link
        assert link.capacity_bps == pytest.approx((right.capacity or 0) * 1e9) or right.capacity is None
        assert link.counters or right.gaps, link
        if right.carried is not None:
            assert link.carried_bps == pytest.approx(right.carried * 1e9, rel=0.05), link
            assert link.natural_bps == pytest.approx((right.carried + (right.dropped or 0)) * 1e9, rel=0.06), link
        if right.dropped is not None and link.dropped_bps is not None:
            assert link.dropped_bps == pytest.approx(right.dropped * 1e9, rel=0.3), link
    assert {window.link.feed for window in seen[skipped:]} <= set(right.feeds)
    assert bool(opened(seen[skipped:])) is right.congested
    assert any(window.decision.overrides for window in seen[skipped:]) is right.moved
    assert {notice.kind for window in seen[skipped:] for notice in window.notices if notice.where == LINK} >= (
        right.notices
    )


def opened(seen: Sequence[Seen]) -> list[str]:
    return [event.link for window in seen for event in window.decision.congestion]


CASES = {
    "01-discards-counter-cleared": Right(60),
    "02-discards-go-back-a-little": Right(60),
    "04-ifspeed-4294967295": Right(60),
    "06-ifspeed-0": Right(60),
    "07-lag-and-members-report-counters": Right(95, congested=True, moved=True),
    "08-lag-speed-0-and-members": Right(60),
    "10-unicast-packet-counter-stuck-at-0": Right(60, dropped=0.7, congested=True),
    "12-octets-unsupported": Right(60, feeds=("gap",), gaps=True, notices=frozenset({"counters-unusable"})),
    "13-octets-of-32-bits": Right(5, capacity=10, feeds=("gap", "live"), gaps=True),
    "14-ifstatus-0-while-octets-flow": Right(
        95, congested=True, moved=True, notices=frozenset({"status-contradicts"})
    ),
    "15-counters-cached-by-the-agent": Right(
        60, feeds=("gap", "live"), gaps=True, notices=frozenset({"counters-cached"})
    ),
    "16-counters-every-30-seconds": Right(95, feeds=("gap", "live"), congested=True, moved=True, gaps=True),
}  # fmt: skip


@pytest.mark.parametrize("phase_s", PHASES)
@pytest.mark.parametrize("name", CASES)
def test_a_case_of_the_field(name: str, phase_s: float) -> None:
    check(run(load(name), phase_s), CASES[name])


def test_cached_counters_do_not_stay_live() -> None:
    for phase_s in PHASES:
        feeds = [window.link.feed for window in run(load("15-counters-cached-by-the-agent"), phase_s)]
        assert "gap" in feeds[3:]


@pytest.mark.parametrize("phase_s", [0.0, 2.5, 4.5, 10.0, 14.5, 24.9])
def test_counters_every_30_seconds_are_met_within_three_windows_whatever_their_phase(phase_s: float) -> None:
    seen = run(load("16-counters-every-30-seconds"), phase_s)
    assert opened(seen[:1])
    assert any(window.decision.overrides for window in seen[:3])
    assert {window.link.feed for window in seen} == {"gap", "live"}


def single(gbps: Any, windows: int = 6, **port: Any) -> Case:
    return {"windows": windows, "gbps": gbps, "ports": [{"ifIndex": 101} | port]}


def lag(gbps: Any, own: dict[str, Any], *members: dict[str, Any], **case: Any) -> Case:
    """A LAG 101 whose members are 501 and so on, all of them in one list of the inventory."""
    share = 1 / max(len(members), 1)
    ports = [{"ifIndex": 101} | own] + [
        {"ifIndex": 501 + index, "share": share} | member for index, member in enumerate(members)
    ]
    numbers = [port["ifIndex"] for port in ports]
    return {"windows": 8, "gbps": gbps, "ifindexes": numbers, "ports": ports} | case


def set_from(at_s: float, **values: int) -> dict[str, Any]:
    return {"from_s": at_s, "set": values}


def add_from(at_s: float, **values: int) -> dict[str, Any]:
    return {"from_s": at_s, "add": values}


ALL_32, ALL_64 = 2**32 - 1, 2**64 - 1

# name: (source, input, what is right and why, windows that show the moment itself)
MORE: dict[str, tuple[str, Case, Right, int]] = {
    "discards are all ones for one poll": (
        "sflow_version_5.txt: all ones are 'not supported'; bonomani/devmon issue 29 asks for the bound by bandwidth",
        single(60, changes=[set_from(-99, ifOutDiscards=7), set_from(22, ifOutDiscards=ALL_32),
                            set_from(27, ifOutDiscards=7)]),
        Right(60),  # 4.29e9 packets do not fit in two polls
        0,
    ),
    "a router restarts and counts from 0": (
        "nagios-plugins/nagios-plugins issue 410, SteScho/manubulon-snmp issue 62: a restart is taken for a wrap",
        single(60, changes=[add_from(25, ifOutOctets=-(10**12), ifInOctets=-(10**11))]),
        Right(60, feeds=("live", "gap"), gaps=True),  # the step of the restart is a gap; no load of 18 Eb/s
        0,
    ),
    "after a restart the readings are used again": (
        "Ozark-Connect/NetworkOptimizer pull 764: a reader that never believes a lower counter is silent for ever",
        single(60, windows=8, changes=[add_from(25, ifOutOctets=-(10**12), ifInOctets=-(10**11))]),
        Right(60),  # two polls after the restart nothing is missing
        4,
    ),
    "a bond's counters fall when a slave leaves": (
        "net-snmp/net-snmp issue 1080: /proc/net/dev decreases without a discontinuity, readers see a 64-bit wrap",
        single(60, changes=[add_from(25, ifOutOctets=-(10**11))]),
        Right(60, feeds=("live", "gap"), gaps=True),
        0,
    ),
    "packets go back, octets go on": (
        "lausser/check_nwc_health issue 306: delta of packets 1.8e19 on a port-channel",
        single(60, discards_per_s=100_000, changes=[add_from(25, ifOutUcastPkts=-(10**6))]),
        Right(60, dropped=0.8, congested=True),  # a mean of 1,000 B a packet, or the usual 800 B
        0,
    ),
    "the packet counter wraps": (
        "ifOutUcastPkts has 32 bits in sFlow and wraps every 10 minutes at 7.5 million packets a second",
        single(60, discards_per_s=100_000, changes=[set_from(-99, ifOutUcastPkts=2**32 - 10),
                                                    set_from(22, ifOutUcastPkts=40_000_000)]),
        Right(60, dropped=0.8, congested=True),
        0,
    ),
    "a few discards in one poll": (
        "sonic-net/sonic-utilities pull 697: counters jump for a moment around 'clear counters'",
        single(60, changes=[add_from(25, ifOutDiscards=400)]),
        Right(60, dropped=None),  # one reading at 60 %: shown, and nothing opens
        0,
    ),
    "discards in each poll": (
        "marks: any discards; these are few, but two readings in a row show them",
        single(60, discards_per_s=10),
        Right(60, dropped=0.00008, congested=True),  # 10 packets of 1,000 B a second
        0,
    ),
    "speed in Mb/s": (
        "lausser/check_nwc_health issue 217: ifSpeed 1000 on gigabit ports",
        single(60, ifSpeed=100_000),
        Right(60, notices=frozenset({"capacity-differs"})),
        0,
    ),
    "speed in Mb/s, and the capacity is what ports report": (
        "as above; a port that slow does not exist, so its octets are believed and its capacity is unknown",
        single(60, ifSpeed=100_000) | {"inventory": {"capacity_bps": "auto"}},
        Right(60, capacity=None, notices=frozenset({"capacity-differs", "capacity-unknown"})),
        0,
    ),
    "speed in Mb/s at night": (
        "as above, with a load below even that speed: 60 kb/s",
        single(0.00006, ifSpeed=100_000) | {"rate": 1},
        Right(None),
        0,
    ),
    "a speed that no LAG has": (
        "opnsense/core issue 5526: 2.82 Gb/s for two ports of 10 Gb/s",
        single(60, ifSpeed=2_820_000_000),
        Right(60, notices=frozenset({"capacity-differs"})),  # 60 do not fit on 2.82
        0,
    ),
    "speed all ones of 64 bits": (
        "sflow_version_5.txt: ifSpeed is an unsigned hyper, all ones are 'unknown'",
        single(60, ifSpeed=ALL_64),
        Right(60),
        0,
    ),
    "a rate below the port's speed": (
        "inex/IXP-Manager lets an exchange sell 40 Gb/s on a port of 100; sub-rate transit is the same",
        single(38, windows=6, ifSpeed=10**11) | {"inventory": {"capacity_bps": 40e9}},
        Right(38, capacity=40, congested=True, moved=True, notices=frozenset({"capacity-below-ports"})),
        0,
    ),
    "a port that came up at a tenth of its speed": (
        "autonegotiation: an optic of 100 Gb/s in a port that runs at 10; carries 9.5, so nothing refutes it",
        single(9.5, ifSpeed=10**10),
        Right(9.5, capacity=10, congested=True, moved=True, notices=frozenset({"capacity-differs"})),
        0,
    ),
    "a port-channel that always says 40 G": (
        "sonic-net/sonic-snmpagent pull 262: PortChannels default to 40G",
        lag(60, {"ifSpeed": 4 * 10**10}, {"ifSpeed": 5 * 10**10}, {"ifSpeed": 5 * 10**10}),
        Right(60),  # both members carry, so their 100 Gb/s are used
        0,
    ),
    "a port-channel with the speed of one member": (
        "paregupt/ucs_traffic_monitor issue 15",
        lag(45, {"ifSpeed": 5 * 10**10}, {"ifSpeed": 5 * 10**10}, {"ifSpeed": 5 * 10**10}),
        Right(45),  # 90 % of one member, 45 % of what is there
        0,
    ),
    "a LAG of type ieee8023adLag": (
        "sflow.org/sflow_lag.txt: counters of components and of the LAG; ifType 161",
        lag(60, {"ifType": 161, "ifSpeed": 0}, {"ifSpeed": 0}, {"ifSpeed": 0}),
        Right(60),
        0,
    ),
    "a LAG and its logical unit": (
        "Junos gives ae1 and ae1.0 an ifIndex each, with the same octets",
        lag(60, {}, {"ifSpeed": 5 * 10**10}, {"ifSpeed": 5 * 10**10})
        | {"ifindexes": [101, 102_000, 501, 502],
           "ports": [{"ifIndex": 101}, {"ifIndex": 102_000}, {"ifIndex": 501, "share": 0.5, "ifSpeed": 5 * 10**10},
                     {"ifIndex": 502, "share": 0.5, "ifSpeed": 5 * 10**10}]},
        Right(60),
        0,
    ),
    "a LAG and its members, without any speed": (
        "czerwonk/junos_exporter pull 93 and sflow/host-sflow issue 69: agents that know no speed",
        lag(60, {"ifSpeed": 0}, {"ifSpeed": 0}, {"ifSpeed": 0}),
        Right(60),  # octets add up, and flows agree
        0,
    ),
    "a LAG and its only member, without any speed": (
        "as above; octets alone cannot say whether these are two members in step: flows do",
        lag(60, {"ifSpeed": 0}, {"ifSpeed": 0}),
        Right(60),
        0,
    ),
    "two members in step, without any speed": (
        "as above, the other way round",
        {"windows": 6, "gbps": 60, "ifindexes": [501, 502],
         "ports": [{"ifIndex": 501, "share": 0.5, "ifSpeed": 0}, {"ifIndex": 502, "share": 0.5, "ifSpeed": 0}]},
        Right(60),
        0,
    ),
    "only the members, a list that names the LAG too": (
        "vendors that report no counters of the LAG itself",
        {"windows": 6, "gbps": 60, "ifindexes": [101, 501, 502],
         "ports": [{"ifIndex": 501, "share": 0.5, "ifSpeed": 5 * 10**10},
                   {"ifIndex": 502, "share": 0.5, "ifSpeed": 5 * 10**10}]},
        Right(60),
        0,
    ),
    "a member that is no longer reported beside its LAG": (
        "a member taken out of service; its readings end",
        lag(40, {}, {"ifSpeed": 5 * 10**10, "share": 1.0}, {"ifSpeed": 5 * 10**10, "share": 0.0, "until_s": 12},
            windows=10),
        Right(40, capacity=50, notices=frozenset({"member-silent"})),  # counters of the others stay
        5,
    ),
    "a member that is no longer reported, without a LAG": (
        "as above; what it carried went over to the other one long before",
        {"windows": 10, "gbps": 40, "ifindexes": [501, 502],
         "ports": [{"ifIndex": 501, "ifSpeed": 5 * 10**10},
                   {"ifIndex": 502, "share": 0.0, "ifSpeed": 5 * 10**10, "until_s": 12}]},
        Right(40, capacity=50, notices=frozenset({"member-silent"})),
        5,
    ),
    "a member that comes back": (
        "the same port after its repair",
        lag(40, {}, {"ifSpeed": 5 * 10**10, "share": 1.0}, {"ifSpeed": 5 * 10**10, "share": 0.0, "from_s": 35},
            windows=10),
        Right(40, capacity=100),
        6,
    ),
    "a LAG that is down while its members forward": (
        "sonic-net/sonic-buildimage issue 1771",
        lag(95, {"changes": [set_from(-99, ifStatus=1)]}, {"ifSpeed": 5 * 10**10}, {"ifSpeed": 5 * 10**10}),
        Right(95, congested=True, moved=True, notices=frozenset({"status-contradicts"})),
        0,
    ),
    "one reading says down": (
        "a state of one moment, or one forged datagram",
        single(95, changes=[set_from(22, ifStatus=1), set_from(27, ifStatus=3)]),
        Right(95, congested=True, moved=True),
        0,
    ),
    "counters refreshed every 3 s, read every second": (
        "net-snmp/net-snmp issues 406 and 1029: the agent's cache of 3 s",
        single(60, cache_s=3) | {"poll_s": 1},
        Right(60, feeds=("live", "gap"), gaps=True),
        0,
    ),
    "counters refreshed every 60 s": (
        "unpoller/unpoller issue 379: read every 30 s, refreshed once a minute",
        single(60, windows=14, cache_s=60) | {"poll_s": 30},
        Right(60, feeds=("gap", "live"), gaps=True),
        0,
    ),
    "a poll is missed": (
        "Csontikka/ha-mikrotik-extended issue 30: a rate by the poll's interval instead of the time that passed",
        {"windows": 6, "gbps": 60,
         "ports": [{"ifIndex": 101, "until_s": 20}, {"ifIndex": 101, "from_s": 31}]},
        Right(60, feeds=("live", "gap"), gaps=True),
        0,
    ),
    "octets on a link without counters of its own": (
        "akvorado/akvorado issue 370: Arista subinterfaces have flows and no counters",
        single(60, changes=[set_from(-99, ifOutOctets=ALL_64, ifInOctets=ALL_64)], discards_per_s=0),
        Right(60, feeds=("gap",), gaps=True, notices=frozenset({"counters-unusable"})),
        0,
    ),
    "octets of 32 bits on a slow port": (
        "Uninett/nav issue 1398, at 0.08 Gb/s of 0.1: one wrap in 430 s, and no other one is possible in a poll",
        single(0.08, windows=40, ifSpeed=10**8, modulo=2**32) | {"rate": 100, "inventory": {"capacity_bps": 1e8}},
        Right(0.08, capacity=0.1),
        0,
    ),
    "counters without flows": (
        "pmacct/pmacct issue 626 (case 49): sfacctd drops QinQ samples, while counters go on",
        single(60) | {"sampled": 0.0},
        Right(60, feeds=("gap",)),  # the level is known; that flows are missing shows
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_more_of_the_same_kinds(name: str) -> None:
    _, case, right, skipped = MORE[name]
    check(run(case), right, skipped)


def test_an_ifindex_that_changed_is_named_and_nothing_is_moved() -> None:
    """Cacti/cacti issue 4532, librenms/librenms issue 386: other numbers after an upgrade or a restart."""
    ports = [{"ifIndex": 101, "until_s": 20}, {"ifIndex": 29, "from_s": 30}]
    seen = run({"windows": 9, "gbps": 95, "ports": ports})
    last = seen[-1]
    assert last.link.feed == "untrusted"
    (notice,) = (notice for notice in last.notices if notice.kind == "interfaces-renumbered")
    assert "ifIndex 101" in notice.text
    assert "ifIndex 29" in notice.text
    late = [window.decision for window in seen[6:]]
    assert all(refused.reason == "untrusted-link" for decision in late for refused in decision.refused)


def test_both_capacities_are_published() -> None:
    (link, *_), *_ = run(single(20, windows=2) | {"inventory": {"capacity_bps": 40e9}})
    assert (link.capacity_bps, link.configured_bps, link.reported_bps) == (40e9, 40e9, 100e9)
    (link, *_), *_ = run(single(20, windows=2) | {"inventory": {"capacity_bps": "auto"}})
    assert (link.capacity_bps, link.configured_bps, link.reported_bps) == (100e9, None, 100e9)
    (link, *_), *_ = run(single(20, windows=2, ifSpeed=0) | {"inventory": {"capacity_bps": "auto"}})
    assert (link.capacity_bps, link.configured_bps, link.reported_bps) == (None, None, None)


def test_unknown_is_unknown() -> None:
    """A link of which nothing comes any more: null in the record, not 0."""
    ports = [{"ifIndex": 101, "until_s": 20}]
    seen = run({"windows": 8, "gbps": [{"from_s": -1000, "gbps": 60}, {"from_s": 20, "gbps": 0}], "ports": ports})
    link = seen[-1].link
    assert link.feed == "silent"
    assert [link.carried_bps, link.dropped_bps, link.offered_bps, link.natural_bps] == [None] * 4


def test_a_restart_of_the_worker_changes_nothing() -> None:
    case = load("07-lag-and-members-report-counters")
    rig, whole = PortsRig(case), run(case)
    feed(rig, windows=range(-2, 3))
    before = rig.seen()
    rig.flush()
    rig.restart()
    feed(rig, windows=range(3, 7))
    assert [window.link for window in [*before, *rig.seen()]] == [window.link for window in whole]
