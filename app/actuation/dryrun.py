"""A dry run: the same judgement on real routes and decisions, but overrides are announced to memory only."""

from collections.abc import Mapping

from app.actuation.bmp_witness import BmpWitness, Shown
from app.bgp.memory import MemorySpeaker
from app.config.inventory import Pop
from app.te.routing.rib import Rib


class DryRunWitness(BmpWitness):
    """Source paths are the real ones; our own routes are on no router, so what was announced counts as shown."""

    def __init__(self, pop: Pop, rib: Rib, speakers: Mapping[str, MemorySpeaker]) -> None:
        super().__init__(pop, rib)
        self._speakers = speakers

    def shown(self, router: str, prefix: str) -> Shown | None:
        route = self._speakers[router].held.get(prefix)
        return None if route is None else Shown(route.next_hop, route.epoch)

    def injector_up(self, router: str) -> bool:
        return True
