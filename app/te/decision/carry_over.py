"""Last cycle's choices: which of them still stand."""

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
    """The overrides that stand, with the attributes of their source paths as they are now; and why others fell."""
    kept: dict[str, StandingOverride] = {}
    invalidated: dict[str, str] = {}
    for prefix, one in sorted(held.items()):
        egress = one.override.exit
        source = next((found.path for found in natural.alternates(prefix) if found.exit == egress), None)
        if source is None:
            invalidated[prefix] = PATH_LOST
        elif (reason := guards.prefix(prefix)) is not None:
            invalidated[prefix] = reason
        elif all(placement.natural(router, prefix, egress.link) == egress.link for router in pop.routers):
            invalidated[prefix] = ALREADY_NATURAL
        else:
            kept[prefix] = msgspec.structs.replace(
                one, override=msgspec.structs.replace(one.override, source_path=copied(source))
            )
    return kept, invalidated


def copied(path: Path) -> SourcePath:
    """The attributes that an override takes from its source path."""
    return SourcePath(path.as_path, path.origin, path.med)
