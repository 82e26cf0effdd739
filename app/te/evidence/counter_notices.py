"""What people should know of a link's counters: contradictions, silence, and what was done about them."""

from collections.abc import Iterator, Sequence

from app.config.inventory import Link
from app.contract.schemas import Notice
from app.te.traffic.counters import UNSUPPORTED
from app.te.traffic.lag import PortView, Rates
from app.te.traffic.units import bits

REMOVED = "If it was removed from its LAG, take it out of `members` or `ifindexes`, and restart telemetry and actuator"
NUMBERS_MAX = 10  # ifIndexes in one text
DIFFERS = 0.01  # share by which two capacities may differ without a word


def never_read(where: str, definition: Link) -> Notice:
    """The notice on a link whose router sends counters, but none of this link."""
    numbers = _numbers(definition.ports)
    text = (
        f"{definition.router} sends counters, but never of {numbers}; compare `ifindexes`, `members` and `interfaces`"
        " with the router"
    )
    return Notice("interface-silent", where, text)


def renumbered(where: str, definition: Link, to: Sequence[int]) -> Notice:
    """The notice on a link whose interfaces fell silent when the interfaces `to` appeared."""
    text = (
        f"{_numbers(definition.ports)} of {definition.router} fell silent, and {_numbers(to)} appeared, which the "
        "inventory does not name; nothing is moved from or to the link until you correct `ifindexes`, `members` or "
        "`interfaces`"
    )
    return Notice("interfaces-renumbered", where, text)


def of_link(where: str, definition: Link, ports: Sequence[PortView], rates: Rates, at_s: float) -> Iterator[Notice]:
    """The notices on a link whose ports were read, and which has these rates."""
    for port in ports:
        yield from _of_port(where, port)
    silent = [port for port in ports if port.silent]
    if silent and len(silent) == len(ports):
        age_s = at_s - max(port.read_s for port in ports)
        text = f"no counters for {age_s:.0f} s; the load is estimated from flows. Does {definition.router} still send?"
        yield Notice("counters-silent", where, text)
    elif silent:
        numbers = _numbers([port.ifindex for port in silent])
        counts = (
            "its LAG carries more than the others, so its capacity still counts"
            if rates.forwarding
            else "its load and capacity are left out"
        )
        yield Notice("member-silent", where, f"{numbers} sends no counters any more; {counts}. {REMOVED}")
    yield from _capacity(where, definition.configured_bps, ports, rates.capacity_bps)


def _of_port(where: str, port: PortView) -> Iterator[Notice]:
    name = f"ifIndex {port.ifindex}"
    if port.carries_while_down:
        yield Notice(
            "status-contradicts", where, f"{name} says that it is down (ifStatus), but its octets move; it is up"
        )
    if refused := len(port.course.refused_s):
        text = (
            f"{refused} readings of {name} in two minutes do not follow from the others and were refused; find out "
            "whether two agents have one address, or somebody forges counters"
        )
        yield Notice("counters-refused", where, text)
    if port.course.lazy:
        text = (
            f"{name} sends the same counters several times before it refreshes them; raise the counter interval of its"
            " router"
        )
        yield Notice("counters-cached", where, text)
    if port.course.steps and all(step.out_octets is None for step in port.course.steps[-2:]):
        text = (
            f"the ifOutOctets of {name} cannot be used: not supported, or they wrap within a poll; the load is "
            "estimated from flows. Let its router send 64-bit counters"
        )
        yield Notice("counters-unusable", where, text)


def _capacity(
    where: str, configured_bps: float | None, ports: Sequence[PortView], reported_bps: float
) -> Iterator[Notice]:
    for port in ports:
        if port.said_bps not in (0, *UNSUPPORTED) and not port.speed_bps:
            text = (
                f"ifIndex {port.ifindex} reports ifSpeed {port.said_bps}, which cannot be true and does not count;"
                " correct it there"
            )
            yield Notice("capacity-differs", where, text)
    if configured_bps is None and not reported_bps:
        text = 'capacity_bps is "auto", but the ports report no ifSpeed that can be true; give a number'
        yield Notice("capacity-unknown", where, text)
    elif configured_bps and reported_bps and abs(reported_bps - configured_bps) > DIFFERS * configured_bps:
        text = f"capacity_bps is {bits(configured_bps)}, the live ports report {bits(reported_bps)} (ifSpeed)"
        if reported_bps > configured_bps:
            yield Notice("capacity-below-ports", where, f"{text}; capacity_bps counts, as is right for a sub-rate port")
        else:
            yield Notice("capacity-differs", where, f"{text}; ifSpeed counts. Correct the one that is wrong")


def _numbers(ifindexes: Sequence[int]) -> str:
    more = f" and {len(ifindexes) - NUMBERS_MAX} more" if len(ifindexes) > NUMBERS_MAX else ""
    return f"ifIndex {', '.join(map(str, ifindexes[:NUMBERS_MAX]))}{more}"
