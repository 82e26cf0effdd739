"""Carry over the overrides of the last cycle: which of them stay, and why the others end."""

from collections.abc import Mapping

import msgspec

from app.config.inventory import Pop
from app.contract.schemas import SourcePath
from app.te.cycle_state import StandingOverride
from app.te.decision.guards import Guards
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path
from app.te.traffic.placement import Placement

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


def copied(path: Path) -> SourcePath:
    """The attributes that an override copies from its source path."""
    return SourcePath(path.as_path, path.origin, path.med)
