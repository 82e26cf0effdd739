"""A broker that denies by default, with the identities of some cells, without any other daemon."""

import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from app.contract import topics
from app.kafka.admin import create_topics
from app.lab.daemons.guard import Guard
from app.lab.daemons.kafka import format_storage, start_kafka
from app.lab.daemons.machine import Site, make_run_dir, open_site
from app.lab.daemons.runner import Runner

OPERATOR = "autopilot-operator"


class GuardedBroker(NamedTuple):
    site: Site
    runner: Runner
    guard: Guard


@asynccontextmanager
async def guarded_broker(cells: Mapping[str, Collection[str]], more: str = "") -> AsyncIterator[GuardedBroker]:
    """The broker with the topics of the PoPs in these cells; `more` are further properties of it."""
    site = open_site(make_run_dir(None))
    try:
        async with Runner(site.run_dir, site.user) as runner:
            guard = Guard(site, cells)
            await format_storage(runner, site, guard.properties() + more)
            await start_kafka(runner, site)
            await guard.give_rights()
            pops = [pop for of_cell in cells.values() for pop in of_cell]
            await create_topics(guard.kafka(OPERATOR), topics.named(pops))
            yield GuardedBroker(site, runner, guard)
    finally:
        shutil.rmtree(site.run_dir)
