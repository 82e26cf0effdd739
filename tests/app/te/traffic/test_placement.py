"""Many pairs at once are placed as each of them alone, while routes change, and seen links and routers are new."""

from collections.abc import Collection

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from app.contract.schemas import Exit, Override, SourcePath
from app.te.cycle_state import StandingOverride
from app.te.evidence.mismatch import mismatch_share
from app.te.routing.natural import NaturalRouting
from app.te.routing.rib import Rib
from app.te.traffic.demand import PairIndex
from app.te.traffic.egress_index import EgressIndex
from app.te.traffic.observed import LinkWindows, observe
from app.te.traffic.placement import Placement
from tests.app.te.world import path, rib_of, window
from tests.pops import link, pop

POP = pop(*(link(f"r{1 + number % 3}/l{number}", number) for number in range(70)))  # more than a word has bits
LINKS, ROUTERS = list(POP.links), list(POP.routers)
PREFIXES = [f"20.0.{number}.0/24" for number in range(2)]
PEERS = {session.peer: one.router for one in POP.link for session in one.sessions}

Flow = tuple[str, str, int]  # (ingress, prefix, the link that it was seen on)
Moves = dict[str, tuple[int, set[str], dict[str, tuple[int, int]]]]  # prefix -> (link, routers, what was observed)

some_links = st.sampled_from([0, 3, 64, 69])
prefixes = st.sampled_from(PREFIXES)
routers = st.sampled_from(ROUTERS)
announced = st.tuples(prefixes, some_links, st.sampled_from([0, 0, 1, None]))
seen = st.tuples(routers, prefixes, some_links)
overrides = st.dictionaries(
    prefixes, st.tuples(some_links, st.sets(routers), st.dictionaries(routers, st.tuples(some_links, some_links)))
)


def announce(rib: Rib, prefix: str, number: int, longer: int | None) -> None:
    """A path that is so much longer than others; None withdraws it."""
    one = path(number, *[7] * (longer or 0))
    if longer is None:
        rib.withdraw(PEERS[one.peer], prefix, one.peer)
    else:
        rib.update(PEERS[one.peer], prefix, one)


def held(moves: Moves) -> dict[str, StandingOverride]:
    return {
        prefix: StandingOverride(
            Override(prefix, Exit("r1", LINKS[to], "", ""), tuple(sorted(on)), (), SourcePath((), "igp"), 0.0, ""),
            0,
            observed={router: (LINKS[was], LINKS[really]) for router, (was, really) in observed.items()},
        )
        for prefix, (to, on, observed) in moves.items()
    }


def placed(placement: Placement, egress: EgressIndex, flows: list[Flow]) -> list[tuple[str, str]]:
    """(natural, planned) of each flow, all at once."""
    numbers = np.array([egress.pairs.number((ingress, prefix)) for ingress, prefix, _ in flows], dtype=np.int64)
    seen_on = np.array([egress.number(LINKS[on]) for _, _, on in flows], dtype=np.int64)
    natural = placement.naturals(egress, numbers, seen_on)
    planned = placement.planneds(egress, numbers, natural)
    names = list(egress.links)
    return [(names[home], names[to]) for home, to in zip(natural.tolist(), planned.tolist(), strict=True)]


def one_by_one(placement: Placement, flows: list[Flow]) -> list[tuple[str, str]]:
    found = []
    for ingress, prefix, on in flows:
        natural = placement.natural(ingress, prefix, LINKS[on])
        found.append((natural, placement.planned(ingress, prefix, natural)))
    return found


@given(
    st.lists(
        st.tuples(st.lists(announced, max_size=4), st.sets(prefixes), st.lists(seen, max_size=8), overrides, overrides),
        max_size=4,
    )
)
def test_columns_say_what_each_pair_says(
    steps: list[tuple[list[tuple[str, int, int | None]], set[str], list[Flow], Moves, Moves]],
) -> None:
    rib = rib_of(POP, {})
    natural = NaturalRouting(POP, rib)
    egress = EgressIndex(natural, PairIndex())
    for news, ours, flows, moved, released in steps:
        for one in news:
            announce(rib, *one)
        for prefix in ours:
            marked = path(1, peer="127.0.0.21", communities=(POP.marker_community,))
            if not rib.withdraw("r2", prefix, marked.peer):
                rib.update("r2", prefix, marked)
        placement = Placement(natural, held(moved), held(released))
        assert placed(placement, egress, flows) == one_by_one(placement, flows)
        windows = seen_in(flows)
        assert mismatch_share(observe([windows], natural), moved) == counted(windows, natural, moved.keys())


def seen_in(flows: list[Flow]) -> LinkWindows:
    return {
        LINKS[on]: window(POP, LINKS[on], 0, None, {(ingress, prefix): 1 for ingress, prefix, at in flows if at == on})
        for _, _, on in flows
    }


def counted(windows: LinkWindows, natural: NaturalRouting, touched: Collection[str]) -> float | None:
    """The share of what leaves elsewhere, demand by demand."""
    total = elsewhere = 0
    for name, one in windows.items():
        for demand in one.demand:
            routes = natural.routes(demand.prefix)
            egress = routes.exits.get(demand.ingress)
            if egress is None or routes.overridden or demand.prefix in touched:
                continue
            total += demand.size_bytes
            if egress.link != name and not natural.may_leave(demand.ingress, demand.prefix, name):
                elsewhere += demand.size_bytes
    return elsewhere / total if total else None
