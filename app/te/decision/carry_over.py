"""Carry over the overrides of the last cycle: which of them stay, and why the others end."""

from collections.abc import Mapping

import msgspec

from app.config.inventory import Pop
from app.contract.schemas import SourcePath
from app.te.cycle_state import CycleState, StandingOverride
from app.te.decision.guards import Guards
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.traffic.placement import Placement

LEFT_INVENTORY = "left-inventory"
PATH_LOST = "source-path-lost"
ALREADY_NATURAL = "already-natural"


def carry_over(
    pop: Pop, guards: Guards, natural: NaturalRouting, placement: Placement, held: Mapping[str, StandingOverride]
) -> tuple[dict[str, StandingOverride], dict[str, str]]:
    """(kept, invalidated): overrides that stay, with their source path as it is now, and reason codes of the others."""
    kept: dict[str, StandingOverride] = {}
    invalidated: dict[str, str] = {}
    for prefix, standing in sorted(held.items()):
        egress = standing.override.exit
        if not is_in_inventory(pop, standing):
            invalidated[prefix] = LEFT_INVENTORY
            continue
        source = next((alternate.path for alternate in natural.alternates(prefix) if alternate.exit == egress), None)
        if source is None:
            invalidated[prefix] = PATH_LOST
        elif (reason := guards.prefix(prefix)) is not None:
            invalidated[prefix] = reason
        elif all(placement.natural(router, prefix, egress.link) == egress.link for router in pop.routers):
            invalidated[prefix] = ALREADY_NATURAL
        else:
            kept[prefix] = msgspec.structs.replace(
                standing, override=msgspec.structs.replace(standing.override, source_path=copied(source))
            )
    return kept, invalidated


def is_in_inventory(pop: Pop, standing: StandingOverride) -> bool:
    """Whether the inventory still has the exit of an override, at the same router, and every link that it relieves."""
    egress, natural = standing.override.exit, standing.override.natural
    at_exit = pop.links.get(egress.link)
    is_there = at_exit is not None and at_exit.router == egress.router
    return is_there and all(each.link in pop.links for each in natural)


def in_inventory(pop: Pop, state: CycleState) -> CycleState:
    """The state without what is about links that left the inventory; the overrides in force stay, to be released."""
    links = {link: seen for link, seen in state.links.items() if link in pop.links}
    settling = {prefix: past for prefix, past in state.settling.items() if is_in_inventory(pop, past)}
    held = {prefix: _foreseen(pop, standing) for prefix, standing in state.held.items()}
    return msgspec.structs.replace(state, links=links, settling=settling, held=held)


def _foreseen(pop: Pop, standing: StandingOverride) -> StandingOverride:
    """An override without what was seen of links that are gone."""
    observed = {ingress: both for ingress, both in standing.observed.items() if pop.links.keys() >= set(both)}
    return standing if observed == standing.observed else msgspec.structs.replace(standing, observed=observed)


def copied(path: Path) -> SourcePath:
    """The attributes that an override copies from its source path."""
    return SourcePath(path.as_path, path.origin, path.med)
