"""What people should know of a link's counters: contradictions, silence, and what was done about them."""

from collections.abc import Iterator, Sequence

from app.config.inventory import Link
from app.contract.schemas import Notice
from app.te.traffic.counters import UNSUPPORTED
from app.te.traffic.lag import PortView, Rates
from app.te.traffic.units import bits

DIFFERS = 0.01  # share by which two capacities may differ without a word


def never_read(where: str, definition: Link) -> Notice:
    """The notice on a link whose router sends counters, but none of this link."""
    numbers = _numbers(definition.ports)
    text = f"{definition.router} sends counters, but never of {numbers}; compare `ifindexes` with the router"
    return Notice("interface-silent", where, text)


def renumbered(where: str, definition: Link, to: Sequence[int]) -> Notice:
    """The notice on a link whose interfaces fell silent when the interfaces `to` appeared."""
    text = (
        f"{_numbers(definition.ports)} of {definition.router} fell silent, and {_numbers(to)} appeared, which the "
        "inventory does not name; nothing is moved from or to the link until the inventory has the right numbers"
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
        yield Notice("member-silent", where, f"{numbers} sends no counters any more; {counts}")
    yield from _capacity(where, definition.configured_bps, ports, rates.capacity_bps)


def _of_port(where: str, port: PortView) -> Iterator[Notice]:
    name = f"ifIndex {port.ifindex}"
    if port.carries_while_down:
        yield Notice(
            "status-contradicts", where, f"{name} says that it is down (ifStatus), but its octets move; it is up"
        )
    if refused := len(port.course.refused_s):
        text = (
            f"{refused} readings of {name} in two minutes do not follow from the others and were refused: "
            "forged, in the wrong order, or two agents with one address"
        )
        yield Notice("counters-refused", where, text)
    if port.course.lazy:
        text = f"{name} sends the same counters several times before it refreshes them; poll it less often"
        yield Notice("counters-cached", where, text)
    if port.course.steps and all(step.out_octets is None for step in port.course.steps[-2:]):
        text = (
            f"the ifOutOctets of {name} cannot be used: not supported, or they wrap within a poll; the load is "
            "estimated from flows"
        )
        yield Notice("counters-unusable", where, text)


def _capacity(
    where: str, configured_bps: float | None, ports: Sequence[PortView], reported_bps: float
) -> Iterator[Notice]:
    for port in ports:
        if port.said_bps not in (0, *UNSUPPORTED) and not port.speed_bps:
            text = f"ifIndex {port.ifindex} reports ifSpeed {port.said_bps}, which cannot be true; it does not count"
            yield Notice("capacity-differs", where, text)
    if configured_bps is None and not reported_bps:
        text = 'capacity_bps is "auto", but the ports report no ifSpeed that can be true; give a number'
        yield Notice("capacity-unknown", where, text)
    elif configured_bps and reported_bps and abs(reported_bps - configured_bps) > DIFFERS * configured_bps:
        counts = "the inventory" if reported_bps > configured_bps else "ifSpeed"
        text = (
            f"capacity_bps is {bits(configured_bps)}, the live ports report {bits(reported_bps)} "
            f"(ifSpeed); {counts} counts"
        )
        yield Notice("capacity-differs", where, text)


def _numbers(ifindexes: Sequence[int]) -> str:
    return f"ifIndex {', '.join(map(str, ifindexes))}"
