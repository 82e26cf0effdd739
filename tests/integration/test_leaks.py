"""The export guard of the gobgpd edge, seen by its neighbours' ears: gobgpd itself does not honour NO_EXPORT."""

import pytest

from app.config.inventory import load_pop
from app.lab.daemons import exabgp, gobgp
from app.lab.daemons.machine import Site
from tests.integration.bgp import MARKER, eventually, inject, paths_at_r1
from tests.integration.conftest import INVENTORY, PREFIXES
from tests.integration.small import edge

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]

NEIGHBOURS = ("127.0.0.31", "127.0.0.32", "127.0.0.33")
OWN = "198.18.0.0/16"


@pytest.mark.parametrize("export_policy", [True, False])
async def test_only_the_export_policy_keeps_overrides_from_neighbours(export_policy: bool) -> None:
    async with edge(load_pop(INVENTORY), "r1", neighbours=True, export_policy=export_policy) as site:
        await inject(site, "r1", PREFIXES[0], "198.51.100.2")
        await eventually(lambda: override_is_best(site))
        await announce_own_again(site)
        heard = [line for peer in NEIGHBOURS for line in exabgp.received(site, peer)]
    leaks = [line for line in heard if MARKER in line]
    assert (len(leaks) == 0) is export_policy, leaks


async def override_is_best(site: Site) -> bool:
    best = (await paths_at_r1(gobgp.target(site, "r1"), PREFIXES[0]))[0]
    return bool(best["local_pref"] == 1000)


async def announce_own_again(site: Site) -> None:
    """Sessions keep their order: when a neighbour hears this, it has heard everything before."""
    heard = {peer: exabgp.received(site, peer).count(OWN) for peer in NEIGHBOURS}
    for change in (["del", OWN], ["add", OWN, "nexthop", "192.0.2.11"]):
        await gobgp.gobgp(gobgp.target(site, "r1"), "global", "rib", *change)

    async def all_heard() -> bool:
        return all(exabgp.received(site, peer).count(OWN) > before for peer, before in heard.items())

    await eventually(all_heard)
