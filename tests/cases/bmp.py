"""Runs the records of a case, as pmbmpd writes them, through the routes agent, natural routing and a decision.

`Bmp(records_of(folder))` is what the product knows after them. In a file, `"at"` is the second at which a record comes;
without it, that is 60. Everything is asked at the time of the last one.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from faust.types import TP

from agents.routes import RoutesState
from app.config.inventory import Pop
from app.config.thresholds import Policy
from app.contract import topics
from app.feeds.bmp_memory import Sessions
from app.stream.consumer import Record
from app.te.cycle_state import CycleState
from app.te.decision.cycle import run_cycle
from app.te.decision.plan import Plan
from app.te.decision.relief import forbidden
from app.te.routing.natural import NaturalRouting
from app.te.routing.path import Path as BgpPath
from app.te.traffic.observed import observe
from tables.rib import RibTable
from tests.agents.outbox import Outbox
from tests.app.te.world import window
from tests.pops import demo_pop
from tests.tables.memory import memory_table

DATA = Path(__file__).parent / "data"
ROUTERS_ADDRESS = "192.0.2.254"  # in all files of records: the routers are behind one address, and differ by sysName
AT_S = 60.0
T0 = 1_795_246_100
Line = dict[str, Any]


def case_pop(bmp_address: str | None = ROUTERS_ADDRESS) -> Pop:
    """The demo's PoP, whose routers send BMP from this address."""
    pop = demo_pop()
    routers = tuple(msgspec.structs.replace(router, bmp_address=bmp_address) for router in pop.router)
    return msgspec.structs.replace(pop, router=routers)


def folder(number: int) -> Path:
    """The folder of the case with this number."""
    [found] = DATA.glob(f"{number}-*")
    return found


def records_of(case: Path) -> list[Line]:
    """The records of a case's `input.jsonl`."""
    return [json.loads(line) for line in (case / "input.jsonl").read_text().splitlines() if line]


def message(kind: str, **more: Any) -> Line:
    """A record of r1's BMP session; `more` changes it or adds to it."""
    session = {"bmp_router": ROUTERS_ADDRESS, "bmp_router_port": 50001, "writer_id": "default/7"}
    return {"event_type": "log", **session, "bmp_msg_type": kind, **more}


def init(sysname: str | None = "r1", **more: Any) -> Line:
    """An initiation message."""
    return message("init", bmp_init_info_sysname=sysname, **more)


def peer_up(peer: str = "127.0.0.31", **more: Any) -> Line:
    """A session that is up; 127.0.0.3N is the neighbour of AS 6460N at r1 on et-0/0/N."""
    numbers = {"peer_ip": peer, "peer_asn": 64570 + int(peer.rpartition(".")[2]), "peer_type": 0}
    return message("peer_up", **(numbers | {"is_in": 1, "is_post": 1} | more))


def update(prefix: str = "20.0.0.0/24", peer: str = "127.0.0.31", **more: Any) -> Line:
    """An update of the post-policy Adj-RIB-In with the next hop of that neighbour."""
    number = int(peer.rpartition(".")[2]) - 30
    path = {"bgp_nexthop": f"198.51.100.{number}", "as_path": f"{64600 + number} 65001", "origin": "i"}
    route = {"log_type": "update", "is_in": 1, "is_post": 1, "afi": 1, "safi": 1, "ip_prefix": prefix, "peer_ip": peer}
    return message("route_monitor", **(route | path | {"local_pref": 200} | more))


class Bmp:
    """What the product knows of a PoP after these records."""

    def __init__(self, lines: Iterable[Line | bytes], pop: Pop | None = None, at_s: float = 0.0) -> None:
        self.pop = pop or case_pop()
        self.outbox = Outbox()
        self.state = RoutesState(
            {self.pop.name: self.pop},
            RibTable(memory_table("rib")),
            self.outbox.publisher,
            lambda *_: None,
            lambda topic: self.read,
        )
        self.read = 0
        self.now_s = T0 + at_s
        self.natural = NaturalRouting(self.pop, self.state.ribs[self.pop.name])
        self.feed(lines)

    def feed(self, lines: Iterable[Line | bytes]) -> None:
        """Let more records come, in their order."""
        for line in lines:
            fields = json.loads(line) if isinstance(line, bytes) else dict(line)
            at_s = T0 + fields.pop("at", AT_S)
            self.now_s = max(self.now_s, at_s)
            record = Record(self.read, at_s, None, json.dumps(fields).encode())
            self.state.apply(TP(topics.BMP.for_pop(self.pop.name), 0), [record])
            self.read += 1

    @property
    def sessions(self) -> Sessions:
        return self.state.feeds[self.pop.name].sessions

    def paths(self, prefix: str = "20.0.0.0/24", router: str = "r1") -> list[BgpPath]:
        """The paths of a router for exactly this prefix, ordered by peer and path id."""
        paths = self.state.ribs[self.pop.name].paths(router, prefix)
        return [paths[key] for key in sorted(paths)]

    def peers(self, router: str = "r1") -> list[str]:
        """The peers of a router that are up."""
        return self.state.ribs[self.pop.name].peers(router)

    def natural_link(self, prefix: str = "20.0.0.0/24", ingress: str = "r1") -> str | None:
        """The link by which plain BGP sends the prefix."""
        egress = self.natural.natural_exit(ingress, prefix)
        return None if egress is None else egress.link

    def targets(self, prefix: str = "20.0.0.0/24") -> list[str]:
        """The links of r1 whose path for this prefix an override may copy now, by the decision's own judgement.

        So that the prefix has somewhere to go on the way, r2 is heard with a path by its transit.
        """
        self.feed(self._transit(prefix))
        plan = self._plan()
        if forbidden(plan, prefix) is not None:
            return []
        candidate = plan.candidate(prefix)
        targets = [target for target in candidate.targets if plan.verdict(candidate, target) is None]
        return [target.exit.link for target in targets if target.exit.router == "r1"]

    def _transit(self, prefix: str) -> list[Line]:
        r2 = {
            "bmp_router": self.pop.routers["r2"].ibgp_address,
            "bmp_router_port": 50002,
            "at": self.now_s - T0,
        }
        transit = "127.0.0.36"
        next_hop4, next_hop6 = (
            next(link for link in self.pop.link if link.sessions[0].peer == transit).sessions[0].next_hops
        )
        path = {"bgp_nexthop": next_hop6 if ":" in prefix else next_hop4, "local_pref": 100}
        return [init("r2", **r2), peer_up(transit, **r2), update(prefix, transit, **path, **r2)]

    def doubtful(self) -> set[str]:
        """The routers to which no move may lead."""
        return set(self.state.doubtful(self.pop, self.now_s))

    def notices(self) -> dict[tuple[str, str], str]:
        """What people read, by kind and place."""
        return {(notice.kind, notice.where): notice.text for notice in self.state.notices(self.pop, self.now_s)}

    def kinds(self) -> set[str]:
        """The kinds of the notices, but for those of routers that a case does not mention."""
        return {kind for kind, _ in self.notices() if kind != "bmp-never-heard"}

    @property
    def letters(self) -> Sequence[str]:
        """The dead letters."""
        return self.outbox.letters

    def _plan(self) -> Plan:
        """The working paper of a decision on a window without traffic."""
        start_s = int(self.now_s)
        windows = {link: window(self.pop, link, start_s, 0.0, {}) for link in self.pop.links}
        observed = observe([windows], self.natural)._replace(doubtful=self.state.doubtful(self.pop, self.now_s))
        plans: list[Plan] = []
        run_cycle(self.pop, Policy(), observed, CycleState(), start_s + 10, plans.append)
        return plans[0]
