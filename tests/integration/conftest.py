"""One stack of real daemons for all tests here: it takes some ten seconds to come up."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.config.inventory import load_pop
from app.lab.daemons.machine import missing
from app.lab.daemons.stack import Stack
from app.lab.pop.model import Announcement

INVENTORY = Path(__file__).parents[2] / "deploy" / "local" / "rhv1000.toml"
PREFIXES = ("20.0.0.0/24", "20.0.1.0/24", "20.0.2.0/24")
PREFIX6 = "2001:db8:20::/48"


def announced() -> dict[str, list[Announcement]]:
    """Every neighbour announces the same prefixes behind its own AS, IPv6 as well."""
    pop = load_pop(INVENTORY)
    routes: dict[str, list[Announcement]] = {}
    for session in (session for link in pop.link for session in link.sessions):
        hop, *_ = session.next_hops
        routes[session.peer] = [Announcement(prefix, hop, (session.asn, 65010), med=10) for prefix in PREFIXES]
        hop6 = f"2001:db8:ffff::{hop.rpartition('.')[2]}"
        routes[session.peer].append(Announcement(PREFIX6, hop6, (session.asn, 65010)))
    return routes


def unavailable(problem: object) -> None:
    """Skip, or fail where services are required."""
    if os.environ.get("AUTOPILOT_REQUIRE_SERVICES") == "1":
        pytest.fail(str(problem))
    pytest.skip(str(problem))


@pytest.fixture(scope="session")
def daemons() -> None:
    """Asked for by tests that need every daemon."""
    if problems := "; ".join(missing()):
        unavailable(problems)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(daemons: None) -> AsyncIterator[Stack]:
    async with Stack(INVENTORY, announced()) as running:
        yield running
