"""Long AS paths, as neighbours announce them and as forged decisions name them, with real edges."""

import msgspec

from app.contract.schemas import Override, SourcePath
from app.lab.pop.model import Announcement
from tests.faults.actuator.rig import NATURAL_PEER, announced, move, on_edges, prefixes
from tests.faults.actuator.verdict import Trial
from tests.integration.test_long_as_path import session

PEERS = ("127.0.0.32", "127.0.0.35")  # the exits: a neighbour of r1 (gobgpd), one of r2 (FRR)
OTHERS = 10
LENGTHS = (65, 255, 256, 272, 900, 1100)  # AS numbers
ANNOUNCED_MAX = 900  # more do not fit into a neighbour's message


async def long_paths(trial: Trial) -> None:
    """The row: whatever a decision copies, no session is reset and no gobgpd ends; other overrides stand."""
    mine = prefixes(OTHERS + 1)
    long = dict(zip(prefixes(len(LENGTHS), first=len(mine)), LENGTHS, strict=True))
    async with on_edges(trial, {NATURAL_PEER: [*mine, *long]}, budget=len(mine) + len(long)) as rig:
        before = {name: await session(rig.place.site, name) for name in rig.pop.routers}
        for number in range(trial.times):
            began_s = rig.clock.monotonic_s()
            peer = PEERS[number % len(PEERS)]
            others = announced(rig.pop, peer, mine)
            await rig.start_neighbour(peer, [*others, *(_announced(others[0], *each) for each in long.items())])
            good = tuple(move(rig.pop, peer, prefix) for prefix in mine)
            bad = [_copying(move(rig.pop, peer, prefix), _path(others[0], length)) for prefix, length in long.items()]
            rig.decider.overrides = {rig.pop.name: good[:OTHERS]}
            await rig.all_there(OTHERS)
            for override in bad:
                await rig.decide_once(rig.pop.name, overrides=(*good[:OTHERS], override))
            rig.decider.overrides = {rig.pop.name: good}  # when this one is there, those before it were read
            await rig.all_there(len(good))
            trial.seconds.append(rig.clock.monotonic_s() - began_s)
            rig.decider.overrides = {rig.pop.name: ()}
            await rig.all_there(0)
        for name, up in before.items():
            if await session(rig.place.site, name) != up:
                trial.problems.append(f"{name} reset its session with its injector")
        trial.problems += [f"{name} ended {count} times" for name, count in rig.place.runner.restarts.items() if count]
        trial.leaked += rig.leaked()
        rig.no_exits(trial)


def _path(like: Announcement, length: int) -> tuple[int, ...]:
    """An AS path of this length that begins with the neighbour's AS."""
    return (*like.as_path[:1], *range(65001, 65000 + length))


def _announced(like: Announcement, prefix: str, length: int) -> Announcement:
    """The same path for another prefix, with an AS path as long as a neighbour can send it."""
    return msgspec.structs.replace(like, prefix=prefix, as_path=_path(like, min(length, ANNOUNCED_MAX)))


def _copying(override: Override, path: tuple[int, ...]) -> Override:
    return msgspec.structs.replace(override, source_path=SourcePath(path, "igp", 10))
