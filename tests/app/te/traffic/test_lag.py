"""A LAG, its members, or both: each byte counts once, and what is left counts as capacity."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from app.te.traffic.counters import UNSUPPORTED, follow
from app.te.traffic.lag import (
    KIND_LAG,
    LinkPorts,
    PortFacts,
    Rates,
    aggregates,
    fastest_bps,
    link_rates,
    refuted,
    views,
)
from app.te.traffic.port import CounterSample, Port

G = 10**9
SECONDS = range(-30, 41, 5)
LAG, ONE, TWO, THREE, FOUR = 1, 11, 12, 13, 14


class Load(NamedTuple):
    """A port that carries `gbps` and says that its speed is `speed_g`, in Gb/s."""

    gbps: float
    speed_g: float = 100
    kind: int = 6
    up: bool = True
    until_s: float = 100.0
    octets: int | None = None  # in place of what it carries


def port(load: Load) -> Port:
    return Port(
        [
            CounterSample(
                at_s=float(at_s),
                in_octets=0,
                out_octets=int((at_s + 100) * load.gbps * G / 8) if load.octets is None else load.octets,
                out_packets=int((at_s + 100) * load.gbps * G / 8000),
                out_discards=0,
                speed_bps=int(load.speed_g * G),
                up=load.up,
                kind=load.kind,
            )
            for at_s in SECONDS
            if at_s < load.until_s
        ]
    )


def see(
    loads: Mapping[int, Load],
    capacity_g: float | None = 200,
    lag: Sequence[int] | None = None,
    expected: int | None = None,
    roles: Mapping[int, bool] | None = None,
) -> Rates:
    ports = {ifindex: port(load) for ifindex, load in loads.items()}
    for ifindex, is_lag in (roles or {}).items():
        ports[ifindex].aggregate = is_lag
    link = LinkPorts(
        ports,
        None if lag is None else frozenset(lag),
        len(loads) if expected is None else expected,
        None if capacity_g is None else capacity_g * G,
    )
    rates = link_rates(link, views(link, 40), 30, 40)
    assert rates is not None
    return rates


def gbps(value: float | None) -> float | None:
    return None if value is None else round(value / G, 3)


# name: (ports, carried, capacity by the ports), of a link of 200 Gb/s whose ports the inventory lists flat
REPORTED: dict[str, tuple[dict[int, Load], float, float]] = {
    "a single port": ({ONE: Load(80, 200)}, 80, 200),
    "only the LAG": ({LAG: Load(80, 200)}, 80, 200),
    "only the LAG, of unknown speed": ({LAG: Load(80, 0)}, 80, 0),
    "only the members": ({ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, by speed": ({LAG: Load(80, 200), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, the LAG of speed 0": ({LAG: Load(80, 0), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, by type": ({LAG: Load(80, 0, KIND_LAG), ONE: Load(50, 0), TWO: Load(30, 0)}, 80, 0),
    "both, a LAG that forgot its octets": ({LAG: Load(0, 200), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, a LAG without octets": ({LAG: Load(80, 200, octets=UNSUPPORTED[1]), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "a LAG, its logical unit and both members": (
        {LAG: Load(80, 200), 2: Load(80, 200), ONE: Load(50), TWO: Load(30)}, 80, 200,
    ),
    "four members in step": ({n: Load(20, 50) for n in (ONE, TWO, THREE, FOUR)}, 80, 200),
    "a LAG and four members in step": (
        {LAG: Load(80, 200)} | {n: Load(20, 50) for n in (ONE, TWO, THREE, FOUR)}, 80, 200,
    ),
    "a LAG and its only member": ({LAG: Load(80, 200), ONE: Load(80, 200)}, 80, 200),
    "two members, one idle": ({ONE: Load(80), TWO: Load(0)}, 80, 200),
    "one member is down": ({ONE: Load(80), TWO: Load(0, up=False)}, 80, 100),
    "one member is down and gives no octets": (
        {ONE: Load(80), TWO: Load(0, up=False, octets=UNSUPPORTED[1])}, 80, 100,
    ),
    "one member fell silent": ({ONE: Load(80), TWO: Load(40, until_s=-5)}, 80, 100),
    "one member fell silent beside its LAG": ({LAG: Load(80, 200), ONE: Load(80), TWO: Load(0, until_s=-5)}, 80, 100),
    "the LAG fell silent": ({LAG: Load(80, 200, until_s=-5), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, a LAG that always says 40 G": ({LAG: Load(80, 40), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, a LAG that says the speed of one member": ({LAG: Load(80, 100), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "both, a LAG that does not use one member": ({LAG: Load(80, 100), ONE: Load(80), TWO: Load(0)}, 80, 100),
    "faster than the inventory": ({ONE: Load(80, 400)}, 80, 400),
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_each_byte_counts_once_whatever_is_reported(name: str) -> None:
    loads, carried, speed = REPORTED[name]
    rates = see(loads)
    assert gbps(rates.carried_bps) == pytest.approx(carried)
    assert gbps(rates.capacity_bps) == speed
    assert rates.up


NAMED = {
    "both": ({LAG: Load(80, 200), ONE: Load(50), TWO: Load(30)}, 80, 200),
    "only the LAG": ({LAG: Load(80, 200)}, 80, 200),
    "only the members": ({ONE: Load(50), TWO: Load(30)}, 80, 200),
    "a member that the agent does not report": ({LAG: Load(80, 200), ONE: Load(50)}, 80, 200),
    "without any speed": ({LAG: Load(80, 0), ONE: Load(50, 0), TWO: Load(30, 0)}, 80, 0),
    "members in step with the LAG": ({LAG: Load(80, 0), ONE: Load(80, 0)}, 80, 0),
    "the LAG has no octets": ({LAG: Load(80, 200, octets=0), ONE: Load(50), TWO: Load(30)}, 80, 200),
}


@pytest.mark.parametrize("name", NAMED)
def test_the_inventory_may_name_lag_and_members_apart(name: str) -> None:
    loads, carried, speed = NAMED[name]
    rates = see(loads, lag=[LAG], expected=3)
    assert gbps(rates.carried_bps) == pytest.approx(carried)
    assert gbps(rates.capacity_bps) == speed


def test_a_lag_that_is_down_is_down_whatever_its_members_say() -> None:
    assert not see({LAG: Load(0, 200, up=False), ONE: Load(0), TWO: Load(0)}).up
    assert see({LAG: Load(0, 200, up=False), ONE: Load(50), TWO: Load(30)}).up, "unless they carry"
    assert not see({ONE: Load(0, up=False), TWO: Load(0, up=False)}).up


def test_live_members_say_the_share_where_no_speed_is_known() -> None:
    three = {n: Load(20, 0) for n in (ONE, TWO)} | {THREE: Load(0, 0, until_s=-5)}
    assert see(three, lag=[LAG], expected=4).live_share == pytest.approx(2 / 3)


def test_a_member_that_comes_back_counts_after_its_second_reading() -> None:
    back = port(Load(40))
    back.samples = [one for one in back.samples if one.at_s <= -25 or one.at_s >= 35]
    link = LinkPorts({ONE: port(Load(40)), TWO: back}, None, 2, 200.0 * G)
    rates = link_rates(link, views(link, 40), 30, 40)
    assert rates is not None
    assert rates.carried_bps == pytest.approx(80 * G)
    assert gbps(rates.capacity_bps) == 200


def test_what_was_known_of_roles_helps_when_speeds_have_changed() -> None:
    """One of two members is gone: the LAG and the other one are as fast as each other, and half as fast as before."""
    left = {LAG: Load(80, 100), ONE: Load(80, 100), TWO: Load(0, 100, until_s=-5)}
    roles = {LAG: True, ONE: False, TWO: False}
    assert gbps(see(left, roles=roles).carried_bps) == pytest.approx(80)
    assert gbps(see(left, roles=roles).capacity_bps) == 100


@pytest.mark.parametrize(
    ("loads", "guess", "other"),
    [
        pytest.param({LAG: Load(80, 0), ONE: Load(50, 0), TWO: Load(30, 0)}, 80, 160, id="adds up: the LAG is likely"),
        pytest.param({ONE: Load(40, 0), TWO: Load(40, 0)}, 40, 80, id="two alike"),
        pytest.param({ONE: Load(40, 0), TWO: Load(25, 0), THREE: Load(15, 0)}, 40, 80, id="40 = 25 + 15"),
    ],
)
def test_without_speeds_the_octets_say_it_or_leave_two_ways(loads: dict[int, Load], guess: float, other: float) -> None:
    rates = see(loads)
    assert rates.otherwise is not None
    assert gbps(rates.carried_bps) == pytest.approx(guess)
    assert gbps(rates.otherwise.carried_bps) == pytest.approx(other)


@pytest.mark.parametrize(("lag_gbps", "forwarding"), [(60, ()), (63, ()), (90, (TWO,))])
def test_a_silent_member_forwards_if_its_lag_carries_more_than_the_others(
    lag_gbps: float, forwarding: tuple[int, ...]
) -> None:
    loads = {LAG: Load(lag_gbps, 200), ONE: Load(60), TWO: Load(30, until_s=0)}
    rates = see(loads, lag=[LAG])
    assert rates.forwarding == forwarding
    assert gbps(rates.capacity_bps) == (200 if forwarding else 100)
    assert rates.live_share == (1.0 if forwarding else 0.5)


SPEEDS: list[tuple[dict[int, float], float | None, set[int] | None]] = [
    ({LAG: 100, ONE: 50, TWO: 50}, 100, {LAG}),
    ({LAG: 100, ONE: 50, TWO: 50}, None, {LAG}),
    ({LAG: 0, ONE: 50, TWO: 50}, 100, {LAG}),
    ({ONE: 50, TWO: 50}, 100, set()),
    ({ONE: 100, TWO: 100}, None, None),
    ({LAG: 100, ONE: 100}, 100, None),  # the LAG and its only member, or both members of one that is sub-rate
    ({LAG: 100, ONE: 0, TWO: 0}, 100, {LAG}),
    ({ONE: 0, TWO: 0}, 100, None),
    ({ONE: 100}, 100, None),
    ({ONE: 10, TWO: 10}, 7, None),  # a rate below both
]


@pytest.mark.parametrize(("speeds", "capacity_g", "expected"), SPEEDS)
def test_which_ports_are_the_lag_by_speed(
    speeds: dict[int, float], capacity_g: float | None, expected: set[int] | None
) -> None:
    ports = [PortFacts(ifindex, int(g * G), int(g * G), 6, False) for ifindex, g in speeds.items()]
    assert aggregates(ports, None if capacity_g is None else capacity_g * G) == expected


IMPOSSIBLE = {
    "unknown": 0,
    "too fast for 32 bits": 2**32 - 1,
    "not supported": 2**64 - 1,
    "in Mb/s": 100_000,
    "in kb/s": 100_000_000,
    "not supported, in Mb/s": (2**32 - 1) * 10**6,
    "-1 Mb/s": 2**64 - 10**6,
}


@pytest.mark.parametrize("speed_bps", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_speed_that_cannot_be_true_is_unknown(speed_bps: int) -> None:
    rates = see({ONE: Load(60, speed_bps / G)}, capacity_g=100)
    assert gbps(rates.carried_bps) == pytest.approx(60)
    assert rates.capacity_bps == 0
    assert fastest_bps(port(Load(60, speed_bps / G)), 100 * G) == 100 * G


def test_a_port_that_carries_more_than_its_speed_refutes_it_for_good() -> None:
    fast, capacity_bps = port(Load(12, 10)), 100.0 * G
    fast.refuted_bps = refuted(fast, follow(fast.samples, fastest_bps(fast, capacity_bps)))
    assert fast.refuted_bps == 10 * G
    quiet = port(Load(1, 10))
    quiet.refuted_bps = fast.refuted_bps
    link = LinkPorts({ONE: quiet}, None, 1, capacity_bps)
    rates = link_rates(link, views(link, 40), 30, 40)
    assert rates is not None
    assert rates.capacity_bps == 0
    honest = port(Load(9.9, 10))
    assert refuted(honest, follow(honest.samples, fastest_bps(honest, capacity_bps))) == 0


def with_last(of_port: Port, **changes: Any) -> Rates:
    *earlier, last = of_port.samples
    link = LinkPorts({ONE: Port([*earlier, msgspec.structs.replace(last, **changes)])}, None, 1, 100.0 * G)
    rates = link_rates(link, views(link, 40), 30, 40)
    assert rates is not None
    return rates


def test_one_reading_changes_neither_speed_nor_state() -> None:
    assert gbps(with_last(port(Load(60)), speed_bps=40 * G).capacity_bps) == 100
    assert with_last(port(Load(60)), up=False).up


def test_a_port_that_carries_is_not_down() -> None:
    assert see({ONE: Load(60, up=False)}).up
    assert not see({ONE: Load(0, up=False)}).up


def test_a_link_that_was_never_read_has_no_rates() -> None:
    assert link_rates(LinkPorts({}, None, 1, 1e11), [], 0, 10) is None


def test_a_silent_link_is_known_and_has_no_load() -> None:
    rates = see({ONE: Load(60, until_s=-5)})
    assert (rates.carried_bps, rates.capacity_bps, rates.up, rates.last_bps) == (None, 0, True, None)
