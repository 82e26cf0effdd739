"""An edge, its injector and its neighbours alone, for tests that change what the shared stack must keep."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.config.inventory import Pop, Session
from app.lab.daemons import exabgp, frr, gobgp
from app.lab.daemons.machine import Site, make_run_dir, open_site
from app.lab.daemons.runner import Runner
from tests.integration.conftest import announced


@asynccontextmanager
async def edge(pop: Pop, name: str, *, neighbours: bool, export_policy: bool = True) -> AsyncIterator[Site]:
    """One edge with its injector and, if wanted, its eBGP neighbours, all sessions up. Without Kafka."""
    router = pop.routers[name]
    sessions = [session for link in pop.link if link.router == name and neighbours for session in link.sessions]
    addresses = [router.ibgp_address, router.injector.address, *(session.peer for session in sessions)]
    site = open_site(make_run_dir(None), addresses)
    try:
        async with Runner(site.run_dir, site.user) as runner:
            if name == pop.router[0].name:
                await gobgp.start_edge(runner, site, pop, router, export_policy)
            else:
                await frr.start_edge(runner, site, pop, router)
            await gobgp.start_injector(runner, site, pop, router)
            await _connect(runner, site, pop, name, sessions)
            yield site
    finally:
        shutil.rmtree(site.run_dir)


async def _connect(runner: Runner, site: Site, pop: Pop, name: str, sessions: list[Session]) -> None:
    router = pop.routers[name]
    for session in sessions:
        await exabgp.start_neighbour(runner, site, pop, router, session, announced()[session.peer])
    injector = f"injector-{name}"
    await runner.ready(injector, gobgp.established(gobgp.target(site, injector), {router.ibgp_address: 0}))
    for session in sessions:
        await runner.ready(exabgp.name_of(session.peer), exabgp.hears(site, session.peer, pop.own_prefixes))
