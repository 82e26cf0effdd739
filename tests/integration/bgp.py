"""What tests do to the routers: put overrides in, ask what is best, wait for a condition."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from app.clock import SystemClock
from app.lab.daemons import frr, gobgp
from app.lab.daemons.machine import Site
from app.lab.daemons.stack import Stack
from tests.patience import PATIENCE_S

MARKER = "64512:911"
SOURCE_PATH = "64602 65010"
LEASE_S = 3600


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
    """Returns as soon as it holds; TimeoutError when it never does."""
    async with asyncio.timeout(within_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def becomes(read: Callable[[], Awaitable[object]], wanted: object, within_s: float = PATIENCE_S) -> None:
    """Returns as soon as `read` gives what is wanted; AssertionError with what it gave last when it never does."""
    seen: object = None

    async def is_there() -> bool:
        nonlocal seen
        seen = await read()
        return seen == wanted

    try:
        await eventually(is_there, within_s)
    except TimeoutError:
        raise AssertionError(f"{seen}, not {wanted}, after {within_s:.0f} s") from None


async def inject(
    site: Site, router: str, prefix: str, next_hop: str, community: str = MARKER, local_pref: int = 1000
) -> None:
    """Put an override into the injector of a router, as the actuator does over gRPC, with a lease that outlasts a test.

    Without it the reaper beside the injector would withdraw it after some seconds.
    """
    sent_s = int(SystemClock().now_s())
    attributes = ["origin", "igp", "aspath", SOURCE_PATH, "local-pref", str(local_pref)]
    attributes += ["large-community", f"{MARKER.partition(':')[0]}:{sent_s + LEASE_S}:{sent_s}"]
    route = [prefix, "nexthop", next_hop, *attributes, "community", f"{community},no-export"]
    await gobgp.gobgp(gobgp.target(site, f"injector-{router}"), "global", "rib", "add", *route)


async def withdraw(site: Site, router: str, prefix: str) -> None:
    await gobgp.gobgp(gobgp.target(site, f"injector-{router}"), "global", "rib", "del", prefix)


async def paths_at_r1(grpc: str, prefix: str) -> list[dict[str, Any]]:
    """r1's paths for a prefix, the best one first: next hop, local_pref, peer."""
    family = "ipv6" if ":" in prefix else "ipv4"
    found = await gobgp.gobgp(grpc, "global", "rib", prefix, "-a", family)
    paths = sorted((found or {}).get(prefix, []), key=lambda path: not path.get("best"))
    return [
        {
            "peer": path["neighbor-ip"],
            "next_hop": next(a.get("nexthop") for a in path["attrs"] if "nexthop" in a),
            "local_pref": next((a["value"] for a in path["attrs"] if a["type"] == 5), None),
            "as_path": [asn for a in path["attrs"] if a["type"] == 2 for part in a["as_paths"] for asn in part["asns"]],
        }
        for path in paths
    ]


async def paths_at_r2(stack: Stack, prefix: str) -> list[dict[str, Any]]:
    """r2's paths for a prefix, the best one first: next hop, local_pref, peer."""
    family = "ipv6" if ":" in prefix else "ipv4"
    found = await frr.vty(stack.r2_vty, f"show bgp {family} unicast {prefix} json")
    paths = sorted(found.get("paths", []), key=lambda path: "bestpath" not in path)
    return [
        {
            "peer": path["peer"]["peerId"],
            "next_hop": path["nexthops"][0]["ip"],
            "local_pref": path["locPrf"],
            "as_path": path["aspath"]["segments"][0]["list"],
        }
        for path in paths
    ]
