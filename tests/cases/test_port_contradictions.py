"""LAGs whose ports contradict each other, speeds cut to 32 bits, ports without a status: more of what agents send."""

from typing import Any

import pytest

from tests.cases.ports import Case, octets_at, run
from tests.cases.test_ports import ALL_32, ALL_64, Right, add_from, check, lag, set_from, single

G40, G50, G100 = 4 * 10**10, 5 * 10**10, 10**11
GAPS: dict[str, Any] = {"dropped": None, "feeds": ("gap", "live"), "gaps": True}


def listed(gbps: Any, *ports: dict[str, Any], windows: int = 8, **case: Any) -> Case:
    numbers = list(dict.fromkeys(port["ifIndex"] for port in ports))
    return {"windows": windows, "gbps": gbps, "ifindexes": numbers, "ports": list(ports)} | case


def shifts(ifindex: int, gbps: float, at_s: float, one: float, two: float, **port: Any) -> list[dict[str, Any]]:
    """A port that carries the share `one` of the load until `at_s`, then `two`."""
    more = int((one - two) * octets_at({"gbps": gbps}, at_s))
    return [
        {"ifIndex": ifindex, "share": one, "until_s": at_s} | port,
        {"ifIndex": ifindex, "share": two, "from_s": at_s, "changes": [add_from(-1e9, ifOutOctets=more)]} | port,
    ]


def twice(port: dict[str, Any]) -> list[dict[str, Any]]:
    """A port of which 30 s of polls are missed."""
    return [port | {"until_s": 15}, port | {"from_s": 46}]


LAG_50: dict[str, Any] = {"ifIndex": 101, "ifType": 161, "ifSpeed": G50}
MEMBERS: list[dict[str, Any]] = [
    {"ifIndex": 501, "share": 0.5, "ifSpeed": G50},
    {"ifIndex": 502, "share": 0.5, "ifSpeed": G50},
]
NO_OCTETS = [set_from(-99, ifOutOctets=ALL_64, ifInOctets=ALL_64)]
CLEARED = [set_from(-999, ifOutDiscards=7000), set_from(25, ifOutDiscards=0)]
DOWN_0: dict[str, Any] = {"ifIndex": 502, "share": 0.0, "ifSpeed": 0, "changes": [set_from(-99, ifStatus=1)]}

CASES: dict[str, tuple[Case, Right, int]] = {
    # paregupt/ucs_traffic_monitor 15, sonic-snmpagent 262: the LAG's ifSpeed is fixed; both members are alive
    "LAG says one member's speed, 46 of 100, 30 s of polls missed": (
        listed(46, *(part for port in (LAG_50, *MEMBERS) for part in twice(port))),
        Right(46, **GAPS),
        0,
    ),
    "the same, telemetry starts, polls of 20 s": (
        listed(46, *(port | {"from_s": 0} for port in (LAG_50, *MEMBERS)), poll_s=20),
        Right(46, **GAPS),
        0,
    ),
    "the same, members' octets not supported": (
        listed(46, LAG_50, *(port | {"changes": NO_OCTETS} for port in MEMBERS)),
        Right(46),
        0,
    ),
    "LAG says 40 G, 38 of 100, members' octets of 32 bits": (
        listed(38, LAG_50 | {"ifSpeed": G40}, *(port | {"modulo": 2**32} for port in MEMBERS)),
        Right(38),
        0,
    ),
    # hsflowd 69: agents that know no speed; a LAG of one member, or a port and its unit; 1:300,000 sampling
    "a LAG and its only member, no speeds, few samples": (
        lag(60, {"ifSpeed": 0}, {"ifSpeed": 0}) | {"rate": 300_000},
        Right(60),
        0,
    ),
    "the same, speeds all ones, fewer samples": (
        lag(60, {"ifSpeed": ALL_32}, {"ifSpeed": ALL_32}) | {"rate": 1_000_000},
        Right(60),
        0,
    ),
    # opnsense/core 5526 (2.82 G = 2 x 1410065408): ifSpeed modulo 2**32; at a load below that figure
    "10 G as 1410065408, 1.3 Gb/s": (
        single(1.3, ifSpeed=1410065408) | {"rate": 1000, "inventory": {"capacity_bps": 1e10}},
        Right(1.3, capacity=10),
        0,
    ),
    "100 G as 1215752192, 1.1 Gb/s": (single(1.1, ifSpeed=1215752192) | {"rate": 1000}, Right(1.1), 0),
    # the LAG knows its speed, the members do not (0, all ones or Mb/s); all of ifType 6
    "LAG 100 G, members 0, 60": (lag(60, {}, {"ifSpeed": 0}, {"ifSpeed": 0}), Right(60), 0),
    "LAG 100 G, members in Mb/s, 95": (
        lag(95, {}, {"ifSpeed": 50_000}, {"ifSpeed": 50_000}),
        Right(95, congested=True, moved=True),
        0,
    ),
    # sub-rate on a LAG: 2 x 100 G, 100 Gb/s bought
    "sub-rate, members only, 95": (
        listed(95, {"ifIndex": 501, "share": 0.6}, {"ifIndex": 502, "share": 0.4}),
        Right(95, congested=True, moved=True),
        0,
    ),
    "sub-rate, LAG without speed and members, 95": (
        lag(95, {"ifSpeed": 0}, {}, {}),
        Right(95, congested=True, moved=True),
        0,
    ),
    # a member is down and says ifSpeed 0, the LAG says what is left (Linux bonding)
    "a member is down and has no speed, the LAG follows": (
        listed(40, {"ifIndex": 101, "ifSpeed": G50}, {"ifIndex": 501, "ifSpeed": G50}, DOWN_0),
        Right(40, capacity=50),
        0,
    ),
    "the same, 48 of 50": (
        listed(48, {"ifIndex": 101, "ifSpeed": G50}, {"ifIndex": 501, "ifSpeed": G50}, DOWN_0, windows=10),
        Right(48, capacity=50, congested=True, moved=True),
        0,
    ),
    # ifStatus wrong and polls of more than 30 s
    "says down, polls of 60 s, 95": (
        single(95, windows=14, changes=[set_from(-999, ifStatus=1)]) | {"poll_s": 60},
        Right(95, congested=True, moved=True, **GAPS),
        0,
    ),
    "a LAG says down (sonic-buildimage 1771), polls of 60 s, 95": (
        lag(
            95,
            {"ifType": 161, "changes": [set_from(-999, ifStatus=1)]},
            {"ifSpeed": G50},
            {"ifSpeed": G50},
            poll_s=60,
            windows=14,
        ),
        Right(95, congested=True, moved=True, **GAPS),
        0,
    ),
    # no counters and no status: a stub entry (subinterface) says all ones or zeros; flows show 95 precisely
    "octets all ones, status 0": (
        single(95, windows=8, changes=[NO_OCTETS[0], set_from(-99, ifStatus=0)]),
        Right(95, None, feeds=("gap",), congested=True, moved=True, gaps=True),
        0,
    ),
    "everything 0": (
        single(
            95, windows=8, ifSpeed=0, changes=[set_from(-99, ifOutOctets=0, ifInOctets=0, ifOutUcastPkts=0, ifStatus=0)]
        ),
        Right(95, None, feeds=("gap",), congested=True, moved=True, gaps=True),
        0,
    ),
    # discards counted on the members only
    "drops on one member, the LAG's discards are 0": (
        lag(60, {}, {"ifSpeed": G50, "discards_per_s": 100_000}, {"ifSpeed": G50}),
        Right(60, 0.8, congested=True),
        0,
    ),
    "the same, the LAG's discards are not supported": (
        lag(
            60,
            {"changes": [set_from(-99, ifOutDiscards=ALL_32)]},
            {"ifSpeed": G50, "discards_per_s": 100_000},
            {"ifSpeed": G50},
        ),
        Right(60, 0.8, congested=True),
        0,
    ),
    # LAG and members contradict each other; flows say which is right
    "a member moved to a busier LAG, 44": (
        listed(
            44,
            {"ifIndex": 101, "changes": [set_from(30, ifSpeed=G50)]},
            *shifts(501, 44, 30, 0.5, 1.125, ifSpeed=G50),
            *shifts(502, 44, 30, 0.5, 1.0, ifSpeed=G50),
            windows=14,
        ),
        Right(44, capacity=None, feeds=("gap", "live"), gaps=True),
        0,
    ),
    "a LAG over two chassis counts those of its own (2 of 3)": (
        lag(60, {"share": 0.667}, *[{"ifSpeed": 33_333_333_333}] * 3),
        Right(60),
        0,
    ),
    # "clear counters" (case 01) where the bound by speed is wide
    "cleared, auto, LAG without speed, 88": (
        lag(
            88,
            {"ifSpeed": 0, "ifType": 161, "changes": CLEARED},
            {"ifSpeed": G50},
            {"ifSpeed": G50},
            inventory={"capacity_bps": "auto"},
        ),
        Right(88),
        0,
    ),
    "cleared, auto, no speed": (
        single(60, ifSpeed=0, changes=CLEARED) | {"inventory": {"capacity_bps": "auto"}},
        Right(60, capacity=None),
        0,
    ),
    "cleared, 800 G, polls of 60 s": (
        single(500, windows=14, ifSpeed=8 * 10**11, changes=CLEARED)
        | {"poll_s": 60, "rate": 262_144, "inventory": {"capacity_bps": 8e11}},
        Right(500, 0.0, capacity=800, feeds=("gap", "live"), gaps=True),
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_ports_report(name: str) -> None:
    case, right, skipped = CASES[name]
    check(run(case), right, skipped)
