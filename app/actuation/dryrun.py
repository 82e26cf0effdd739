"""A dry run: real routes and decisions are judged as usual, but overrides are announced only to memory."""

from collections.abc import Mapping

from app.actuation.bmp_witness import BmpWitness, HeardOf
from app.bgp.memory import MemorySpeaker
from app.config.inventory import Pop
from app.te.routing.rib import Rib


class DryRunWitness(BmpWitness):
    """A witness for dry runs: source paths are real, and a route announced to memory counts as shown by its router."""

    def __init__(self, pop: Pop, rib: Rib, heard: HeardOf, speakers: Mapping[str, MemorySpeaker]) -> None:
        super().__init__(pop, rib, heard)
        self._speakers = speakers

    def shown(self, router: str, prefix: str) -> str | None:
        route = self._speakers[router].held.get(prefix)
        return None if route is None else route.next_hop

    def injector_up(self, router: str) -> bool:
        return True
