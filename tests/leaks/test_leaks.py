"""A short run of the leak test, and whether it sees what it is there to see."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agents.actuate import decode
from app.config.inventory import load_pop
from app.contract.decoding import Rejected
from app.lab.daemons.commands import output
from app.lab.daemons.machine import binary
from app.stream.consumer import Record
from tests.foreign import bird
from tests.integration.bgp import eventually
from tests.keys import ANYBODY
from tests.leaks.__main__ import run
from tests.leaks.edges import NO_EXPORT
from tests.leaks.hostile import Sets
from tests.leaks.rig import INVENTORY, Rig
from tests.leaks.truth import Truth

services = pytest.mark.services
SETS = 60
NOW_S = 1_800_000_000


def command(*options: str) -> subprocess.CompletedProcess[str]:
    """`make leak-test` with these options."""
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-m", "tests.leaks", "--json", *options]
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)


@services
def test_a_short_run_leaks_nothing() -> None:
    ran = command("--sets", str(SETS))
    assert ran.stdout == f'{{"sets": {SETS}, "leaks": 0, "outside_rib": 0, "crashed": 0, "resets": 0}}\n', ran.stderr
    assert ran.returncode == 0
    assert "'announced': " in ran.stderr
    assert "'refused: bogon': " in ran.stderr


@services
async def test_a_weak_export_policy_is_seen_at_the_neighbours_of_every_edge() -> None:
    found = await run(10, 1, leaky=True)
    assert found.outcome.leaks == len(found.leaks) > 0
    leaking = Counter(heard.neighbour for heard in found.leaks if "64512:911" in heard.communities)
    assert leaking.keys() == {f"127.0.0.3{number}" for number in range(1, 10)}
    edges_that_strip = [
        heard for heard in found.leaks if heard.neighbour not in ("127.0.0.31", "127.0.0.32", "127.0.0.33")
    ]
    assert not any(NO_EXPORT in heard.communities for heard in edges_that_strip), "else these edges would keep them"
    assert found.outcome.outside_rib == found.outcome.crashed == found.outcome.resets == 0


@services
def test_an_actuator_that_believes_in_paths_that_are_none_is_seen() -> None:
    ran = command("--sets", "30", "--plant", "rib")
    outcome = json.loads(ran.stdout)
    assert outcome.pop("outside_rib") > 0, ran.stderr
    assert outcome == {"sets": 30, "leaks": 0, "crashed": 0, "resets": 0}
    assert ran.returncode == 1


@services
async def test_lost_sessions_and_ended_processes_are_seen() -> None:
    async with Rig() as rig:
        site, watch = rig.site, rig.watch
        assert watch.resets == rig.crashed == 0
        await output(binary("vtysh"), "--vty_socket", str(site.path("r2")), "-d", "bgpd", "-c", "clear bgp 127.0.0.22")
        await bird.ask(site, "r3", "restart neighbour_127_0_0_37")

        async def both_seen() -> bool:
            await watch.look_at_sessions()
            watch.look({})
            return watch.resets >= 2

        await eventually(both_seen)
        os.kill(rig.runner.pid("r2"), signal.SIGKILL)

        await rig.settle()
        assert rig.crashed == 1
        assert watch.crashed == {"r2": -signal.SIGKILL}


def test_the_same_seed_makes_the_same_decisions_and_most_can_be_read() -> None:
    pop = load_pop(INVENTORY)
    made, again, other = (Sets(pop, Truth(pop), seed, NOW_S) for seed in (1, 1, 2))
    values = [made.next(NOW_S) for _ in range(500)]
    assert values == [again.next(NOW_S) for _ in range(500)]
    assert values != [other.next(NOW_S) for _ in range(500)]
    read = [decode(pop.name, ANYBODY, Record(0, NOW_S, None, value)) for value in values]
    unreadable = {decision.reason.partition(" - ")[0] for decision in read if isinstance(decision, Rejected)}
    assert len(unreadable) > 5
    sizes = [len(decision.overrides) for decision in read if not isinstance(decision, Rejected)]
    assert len(sizes) > 400
    assert min(sizes) == 0
    assert max(sizes) > 50


def test_only_copies_of_what_a_neighbour_announces_are_inside_the_rib() -> None:
    pop = load_pop(INVENTORY)
    truth = Truth(pop)
    move = truth.moves[0]
    router, prefix, hop = move.exit.router, move.route.prefix, move.route.next_hop
    assert router == "r1"
    assert truth.may_hold(router, prefix, hop)
    assert truth.may_hold("r2", prefix, "192.0.2.11")
    assert not truth.may_hold("r2", prefix, hop)
    assert not truth.may_hold("r1", prefix, "192.0.2.11"), "a loop"
    assert not truth.may_hold(router, prefix, "198.51.100.99")
    for never in ("0.0.0.0/0", "198.18.7.0/24", "20.8.0.0/24", "21.0.0.0/24"):
        assert not truth.may_hold(router, never, hop)
