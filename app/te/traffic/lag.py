"""A link's loads from the counters of its ports: a LAG, its members, or both. Each byte counts once.

Vendors report the LAG, its members or all of them, and the inventory may list them without saying which is which.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import inf
from typing import NamedTuple

import msgspec

from app.te.traffic.counters import (
    JITTER_S,
    MARGIN,
    NOTHING_KNOWN,
    SPEED_MAX_BPS,
    UNSUPPORTED,
    WRAP_32,
    Course,
    PortRates,
    follow,
    port_rates,
    settled,
)
from app.te.traffic.port import CounterSample, Port

KIND_LAG = 161  # ifType ieee8023adLag
SPEED_MIN_BPS = 10**7  # slower Ethernet does not exist: such a value is in Mb/s (ifHighSpeed) or means nothing
SPEED_SHARE_MIN = 0.01  # of the link's capacity: a port that is slower is given in another unit
SILENT_S, SILENT_POLLS = 30.0, 3.0
OVERDUE_POLLS = 1.5
SAME = 0.995  # two members rarely carry so nearly the same
NEAR = 0.1  # speeds or loads that differ by less are the same
USED_SHARE = 0.01  # of the busiest member's load, or of the capacity: what carries less carries no traffic
NOTHING = PortRates(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, inf, 0.0, 0.0)


class Rates(msgspec.Struct, frozen=True):
    """A link's load in a window according to its counters, in bits per second; None for what they do not say.

    `capacity_bps` is the speed of its live ports, 0 if unknown; `live_share` is the share of its members that are live.
    For `low_bps` to `dropped_low_bps` see PortRates.
    `last_bps` is the load that was last counted, None once the next reading is overdue. `renumbered` says that the
    router seems to have given the interfaces other numbers. `forwarding` are silent members that count as live,
    because the LAG carries more than the others. `otherwise` are the rates if the ports are not what they
    seem to be (the largest one a member like the others, or the LAG), or if a LAG and its members contradict.
    """

    carried_bps: float | None
    dropped_bps: float | None
    received_bps: float | None
    capacity_bps: float
    up: bool
    low_bps: float | None = None
    high_bps: float | None = None
    sure_bps: float | None = None
    steady_bps: float | None = None
    wraps_bps: float = inf
    dropped_low_bps: float = 0.0
    live_share: float = 1.0
    last_bps: float | None = None
    renumbered: bool = False
    forwarding: tuple[int, ...] = ()
    otherwise: "Rates | None" = None


class LinkPorts(NamedTuple):
    """The ports of a link that were ever read, by ifIndex, with what the inventory says of them.

    `lag` are the ifIndexes of the LAG itself; None if the inventory does not tell it from its members. `expected` is
    the number of ifIndexes in the inventory. `configured_bps` is None if the counters alone say the capacity.
    """

    ports: Mapping[int, Port]
    lag: frozenset[int] | None
    expected: int
    configured_bps: float | None


class PortFacts(NamedTuple):
    """What a port is by its own words: `said_bps` is its ifSpeed, `speed_bps` the same or 0 if it cannot be true.

    `is_off` says that it is down and has no speed: a member that is down, and no LAG.
    """

    ifindex: int
    said_bps: int
    speed_bps: int
    kind: int
    is_off: bool


class PortView(NamedTuple):
    """One port at a time; `read_s` is the time of its last reading, after which it is `overdue`, then `silent`.

    `carries_while_down` says that its octets move while its ifStatus is down.
    """

    ifindex: int
    said_bps: int
    speed_bps: int
    kind: int
    is_off: bool
    course: Course
    up: bool
    carries_while_down: bool
    read_s: float
    overdue: bool
    silent: bool
    aggregate: bool | None


def views(link: LinkPorts, at_s: float) -> list[PortView]:
    """The ports of a link as of `at_s`, Unix seconds."""
    return [_view(link, ifindex, port, at_s) for ifindex, port in sorted(link.ports.items()) if port.samples]


def facts(link: LinkPorts) -> list[PortFacts]:
    """What the ports of a link say of themselves in two readings in a row."""
    return [_facts(link, ifindex, port) for ifindex, port in sorted(link.ports.items()) if port.samples]


def aggregates(ports: Sequence[PortFacts], configured_bps: float | None) -> frozenset[int] | None:
    """Which of these ports is the LAG that the others are members of, by types and speeds; empty if all are members.

    More than one are names of the same LAG, such as a logical unit. None if types and speeds do not say.
    """
    if len(ports) < 2:
        return None
    lags = frozenset(port.ifindex for port in ports if port.kind == KIND_LAG)
    if 0 < len(lags) < len(ports):
        return lags
    total_bps = sum(port.speed_bps for port in ports)
    unknown = frozenset(port.ifindex for port in ports if not port.speed_bps)
    if not unknown and len(ports) > 2:
        largest = max(ports, key=lambda port: port.speed_bps)
        if 2 * largest.speed_bps == total_bps:
            return frozenset({largest.ifindex})
    if configured_bps is None:
        return None
    whole = frozenset(port.ifindex for port in ports if _near(port.speed_bps, configured_bps))
    if whole and len(whole) + len(unknown) == len(ports):  # a LAG beside members of unknown speed, or a sub-rate LAG
        return whole if len(whole) == 1 and len(unknown) > 1 else None
    if _near(total_bps, configured_bps):
        return None if any(port.is_off for port in ports) else unknown
    if whole and total_bps > configured_bps:
        return whole
    beside = frozenset(port.ifindex for port in ports if _near(total_bps - port.speed_bps, configured_bps))
    return beside if len(beside) == 1 else None


def refuted(port: Port, course: Course) -> int:
    """The ifSpeed that the port gives but has proven wrong, in all the time since it gives it, or an earlier one."""
    speed_bps = settled([reading.speed_bps for reading in course.readings])
    same = list(takewhile(lambda reading: reading.speed_bps == speed_bps, reversed(course.readings)))
    steps = [step for step in course.steps if same and step.begin_s >= same[-1].at_s]
    octets = [step.out_octets for step in steps]
    known = [count for count in octets if count is not None]
    if len(known) < 2 or len(known) < len(octets):
        return port.refuted_bps
    possible = MARGIN * speed_bps / 8 * (steps[-1].end_s - steps[0].begin_s + course.stale_s)
    return speed_bps if speed_bps and sum(known) > possible else port.refuted_bps


def fastest_bps(port: Port, configured_bps: float | None) -> float:
    """The most that this port can carry: its link's capacity, or the ifSpeed that two readings agree on."""
    speed_bps = settled([sample.speed_bps for sample in port.samples]) if port.samples else 0
    said = speed_bps if SPEED_MIN_BPS <= speed_bps <= SPEED_MAX_BPS and speed_bps not in UNSUPPORTED else 0
    return max(said, configured_bps or 0.0) or SPEED_MAX_BPS


def link_rates(link: LinkPorts, ports: Sequence[PortView], start_s: float, end_s: float) -> Rates | None:
    """The link's rates over [start_s, end_s) from its ports as of the end; None if none of them was ever read.

    A silent port does not count as load, nor as capacity unless its LAG shows that it forwards.
    """
    if not ports:
        return None
    rates = {port.ifindex: _port_rates(port, start_s, end_s) for port in ports if not port.silent}
    lag = _lag(link, ports)
    if lag is None and len(rates) > 1:
        return _ambiguous(link, ports, rates)
    return _as(link, ports, rates, lag or frozenset())


RatesByPort = Mapping[int, PortRates]


def _port_rates(port: PortView, start_s: float, end_s: float) -> PortRates:
    rates = port_rates(port.course, start_s, end_s)
    if not port.up and rates.carried_bps is None:
        return NOTHING
    return rates._replace(last_bps=None) if port.overdue else rates


def _lag(link: LinkPorts, ports: Sequence[PortView]) -> frozenset[int] | None:
    if link.lag is not None:
        return link.lag
    if (found := aggregates(facts(link), link.configured_bps)) is not None:
        return found
    if any(port.aggregate is None for port in ports):
        return None
    return frozenset(port.ifindex for port in ports if port.aggregate)


def _ambiguous(link: LinkPorts, ports: Sequence[PortView], rates: RatesByPort) -> Rates:
    """The rates if types and speeds do not say which port is the LAG: the largest one, if the others add up to it.

    So they do if there is one other that carries the same. Or if all together are more than the link can carry.
    """
    loads = {ifindex: rate.carried_bps for ifindex, rate in rates.items() if rate.carried_bps is not None}
    members = _as(link, ports, rates, frozenset())
    if len(loads) < len(rates):
        return members
    largest = max(loads, key=lambda ifindex: loads[ifindex])
    as_lag = _as(link, ports, rates, frozenset({largest}))
    total_bps = sum(loads.values())
    adds_up = _near(total_bps, 2 * loads[largest]) if len(loads) > 2 else total_bps > SAME * 2 * loads[largest]
    too_much = link.configured_bps is not None and total_bps > MARGIN * link.configured_bps
    guess, other = (as_lag, members) if adds_up or too_much else (members, as_lag)
    return msgspec.structs.replace(guess, otherwise=other)


def _as(link: LinkPorts, ports: Sequence[PortView], rates: RatesByPort, lag: frozenset[int]) -> Rates:
    """The rates if these ports are the LAG and all others its members."""
    live = [port for port in ports if not port.silent]
    own = [port for port in live if port.ifindex in lag]
    counted = _counted(lag, rates) or [port.ifindex for port in live if port not in own] or list(rates)
    total = _total([rates[ifindex] for ifindex in counted])
    members = _total([rates[port.ifindex] for port in live if port not in own]) if own else NOTHING_KNOWN
    if (members.dropped_bps or 0.0) > (total.dropped_bps or 0.0):  # a LAG may count no discards of its own
        total = total._replace(dropped_bps=members.dropped_bps, dropped_low_bps=members.dropped_low_bps)
    forwarding = _forwarding(ports, lag, rates)
    heard = [port._replace(silent=port.silent and port.ifindex not in forwarding) for port in ports]
    speed_bps, live_share = _capacity(link, heard, lag, {**rates, **forwarding})
    carries = (total.carried_bps or 0.0) > USED_SHARE * max(speed_bps, link.configured_bps or 0.0)
    found = Rates(
        carried_bps=total.carried_bps,
        dropped_bps=total.dropped_bps,
        received_bps=total.received_bps,
        capacity_bps=speed_bps,
        up=any(port.up for port in own or live) or carries or not live,
        low_bps=total.low_bps,
        high_bps=total.high_bps,
        sure_bps=total.sure_bps,
        steady_bps=total.steady_bps,
        wraps_bps=total.wraps_bps,
        dropped_low_bps=total.dropped_low_bps or 0.0,
        live_share=live_share,
        last_bps=total.last_bps,
        forwarding=tuple(forwarding),
    )
    known = [rates[port.ifindex] for port in own if rates[port.ifindex].carried_bps is not None]
    largest = max(known, key=lambda rate: rate.carried_bps or 0.0, default=NOTHING_KNOWN)
    return _with_other(found, largest if total.carried_bps == members.carried_bps else members)


def _with_other(rates: Rates, other: PortRates) -> Rates:
    """The rates with what a LAG says, or all of its members, as the other way to read them, if the two contradict."""
    if not (rates.carried_bps and other.carried_bps) or _near(rates.carried_bps, other.carried_bps):
        return rates
    otherwise = msgspec.structs.replace(
        rates,
        carried_bps=other.carried_bps,
        received_bps=other.received_bps,
        low_bps=other.low_bps,
        high_bps=other.high_bps,
        sure_bps=other.sure_bps,
        steady_bps=other.steady_bps,
        wraps_bps=other.wraps_bps,
        last_bps=other.last_bps,
    )
    return msgspec.structs.replace(rates, otherwise=otherwise)


def _counted(lag: frozenset[int], rates: RatesByPort) -> list[int]:
    """The one port that counts for the whole LAG; empty if the LAG's own counters do not work."""
    known = {ifindex: rate.carried_bps for ifindex, rate in rates.items() if rate.carried_bps is not None}
    largest = max(known.keys() & lag, key=lambda ifindex: known[ifindex], default=None)
    if largest is None:
        return []
    return [largest] if 2 * known[largest] >= sum(bps for ifindex, bps in known.items() if ifindex not in lag) else []


def _total(loads: Sequence[PortRates]) -> PortRates:
    """The sum of ports; a load that is unknown for one of them is unknown for all, except drops."""
    columns = zip(*loads, strict=True) if loads else [(None,)] * len(PortRates._fields)
    carried, dropped, received, low, high, sure, steady, wraps, dropped_low, last = columns
    drops = [bps for bps in dropped if bps is not None]
    return PortRates(
        _sum(carried),
        sum(drops) if drops else None,
        _sum(received),
        _sum(low),
        _sum(high),
        _sum(sure),
        _sum(steady),
        min((bps for bps in wraps if bps is not None), default=inf),
        _sum(dropped_low) or 0.0,
        _sum(last),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _forwarding(ports: Sequence[PortView], lag: frozenset[int], rates: RatesByPort) -> RatesByPort:
    """The silent members that forward all the same: their LAG surely carries more than the others do.

    Where the agent of a line card dies, only its counters stop.
    """
    silent = [port.ifindex for port in ports if port.silent and port.up and port.ifindex not in lag]
    own = [_first(rate.low_bps, rate.last_bps) for ifindex, rate in rates.items() if ifindex in lag]
    others = _sum([_first(rate.high_bps, rate.last_bps) for ifindex, rate in rates.items() if ifindex not in lag])
    lag_bps = max((bps for bps in own if bps is not None), default=0.0)
    if not silent or others is None or lag_bps - others <= NEAR * lag_bps:
        return {}
    return dict.fromkeys(silent, NOTHING_KNOWN._replace(last_bps=(lag_bps - others) / len(silent)))


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _capacity(
    link: LinkPorts, ports: Sequence[PortView], lag: frozenset[int], rates: RatesByPort
) -> tuple[float, float]:
    """(speed of the live ports, 0 if unknown; share of the members that are live).

    A LAG may say less than its live members add up to, because it does not use all of them, or because its agent gives
    a fixed speed or that of one member: the members that carry show which.
    """
    own = [port for port in ports if port.ifindex in lag]
    members = [port for port in ports if port.ifindex not in lag]
    alive = [port for port in members if port.up and not port.silent]
    live_share = len(alive) / len(members) if alive else 1.0
    said_bps = max((port.speed_bps for port in own if port.up and not port.silent), default=0)
    # A member that was never read may be one that the agent does not report: then only the LAG's own speed counts.
    complete = len(ports) == link.expected or not own
    if not (alive and complete and all(port.speed_bps for port in alive)):
        return said_bps, live_share
    loads = {port.ifindex: rates[port.ifindex].last_bps for port in alive}
    most_bps = max((bps for bps in loads.values() if bps is not None), default=0.0)
    used = [port for port in alive if (bps := loads[port.ifindex]) is None or bps > USED_SHARE * most_bps]
    total_bps, used_bps = (sum(port.speed_bps for port in part) for part in (alive, used))
    return (min(total_bps, max(said_bps, used_bps)) if said_bps else total_bps), live_share


def _facts(link: LinkPorts, ifindex: int, port: Port) -> PortFacts:
    said_bps = settled([sample.speed_bps for sample in port.samples])
    possible = SPEED_MIN_BPS <= said_bps <= SPEED_MAX_BPS and said_bps not in (*UNSUPPORTED, port.refuted_bps)
    slow = said_bps < SPEED_SHARE_MIN * (link.configured_bps or 0.0) / link.expected
    kind = settled([sample.kind for sample in port.samples])
    speed_bps = said_bps if possible and not slow and not _is_cut(said_bps) else 0
    is_off = not speed_bps and not settled([sample.up for sample in port.samples]) and not _moves(port.samples)
    return PortFacts(ifindex, said_bps, speed_bps, kind, is_off)


def _is_cut(speed_bps: int) -> bool:
    """Whether a speed is what 32 bits leave of a whole number of Gb/s: 1,410,065,408 of 10 Gb/s, and so on."""
    return speed_bps < WRAP_32 and any((speed_bps + turns * WRAP_32) % 10**9 == 0 for turns in range(1, 400))


def _view(link: LinkPorts, ifindex: int, port: Port, at_s: float) -> PortView:
    course = follow(port.samples, fastest_bps(port, link.configured_bps))
    up = settled([reading.up for reading in course.readings])
    carries, read_s = not up and _moves(course.readings), port.samples[-1].at_s
    return PortView(
        *_facts(link, ifindex, port),
        course=course,
        up=up or carries,
        carries_while_down=carries,
        read_s=read_s,
        overdue=at_s - read_s > OVERDUE_POLLS * course.poll_s + JITTER_S,
        silent=at_s - read_s > max(SILENT_S, SILENT_POLLS * course.poll_s),
        aggregate=port.aggregate,
    )


def _moves(readings: Sequence[CounterSample]) -> bool:
    """Whether octets move between the last readings although all of these say that the port is down."""
    last_s = readings[-1].at_s
    down = list(takewhile(lambda reading: not reading.up, reversed(readings)))
    recent = [reading for reading in down if reading.at_s >= last_s - SILENT_S]
    two = recent if len(recent) > 1 else down[:2]  # polls may be slow
    return len({(reading.in_octets, reading.out_octets) for reading in two}) > 1


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= NEAR * max(one, other)
