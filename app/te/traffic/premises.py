"""What flow records are counted by: the windows, and what of the inventory says where records belong. Pure values.

Rows depend on it as much as on the records. A worker that starts with another configuration reads records again that
some rows include already; they have to be counted as they were, or a byte would be in two accounts, or in none. So the
premises are stored before the first row that is made by them, each with the position from which on it holds.
"""

from collections.abc import Sequence

import msgspec

from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.te.traffic.grid import Grid

KEPT = 8  # premises that no record is counted by, unless a table loses what was written since


class WindowTiming(msgspec.Struct, frozen=True):
    """When windows begin, end and close; `grace_s` and `refresh_s` as in the settings, in seconds."""

    grid: Grid
    grace_s: int
    refresh_s: int

    @classmethod
    def of(cls, windows: WindowSettings) -> "WindowTiming":
        """The timing of a deployment whose settings were always these."""
        return cls(Grid(windows.length_s), windows.grace_s, windows.refresh_s)


class FlowInventory(msgspec.Struct, frozen=True):
    """What of an inventory says where flow records belong: routers by sFlow agent, their ports, and the links.

    `sampling_rates` are those that a router lists, `configured_bps` is None where counters say the capacity. `outputs`
    (ifIndex -> link id) and `inputs` (ifIndex -> ingress router) are by router.
    """

    router_by_agent: dict[str, str]
    sampling_rates: dict[str, tuple[int, ...]]
    configured_bps: dict[str, float | None]
    outputs: dict[str, dict[int, str]]
    inputs: dict[str, dict[int, str]]

    @classmethod
    def of(cls, pop: Pop) -> "FlowInventory":
        """The part of a PoP's inventory that its flow records are counted by."""
        outputs: dict[str, dict[int, str]] = {router: {} for router in pop.routers}
        inputs: dict[str, dict[int, str]] = {router: {} for router in pop.routers}
        for (router, ifindex), link in pop.link_by_interface.items():
            outputs.setdefault(router, {})[ifindex] = link
        for (router, ifindex), ingress in pop.ingress_by_interface.items():
            inputs[router][ifindex] = ingress
        return cls(
            router_by_agent=dict(pop.router_by_agent),
            sampling_rates={name: router.sampling_rates for name, router in pop.routers.items()},
            configured_bps={name: link.configured_bps for name, link in pop.links.items()},
            outputs=outputs,
            inputs=inputs,
        )


class Premises(msgspec.Struct, frozen=True):
    """What the records from position `from_position` on are counted by."""

    from_position: int
    timing: WindowTiming
    inventory: FlowInventory


class PremisesRow(msgspec.Struct):
    """All premises of a PoP that records may still be counted by, the oldest first."""

    premises: tuple[Premises, ...]


def premises_at(premises: Sequence[Premises], position: int) -> Premises:
    """Those of these premises, the oldest first, that the record at a position is counted by."""
    *_, due = [premises[0], *(each for each in premises if each.from_position <= position)]
    return due


def kept(premises: Sequence[Premises], applied: int) -> tuple[Premises, ...]:
    """Those that records from position `applied` on are counted by, and KEPT before: a table may lose several flushes.

    Those of the record at `applied` itself say what is open, even if no row was made by the ones that follow.
    """
    return tuple(premises[max(0, premises.index(premises_at(premises, applied)) - KEPT) :])
