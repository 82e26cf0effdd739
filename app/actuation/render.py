"""Turns an admitted override and the live path that it copies into the route that each router receives. Pure."""

from app.bgp.speaker import NO_EXPORT, InjectedRoute
from app.config.inventory import Pop
from app.contract.schemas import Override
from app.te.routing.path import Path


def render(pop: Pop, override: Override, path: Path | None, lease_end_s: int) -> dict[str, InjectedRoute]:
    """Return the route of each router: the exit gets the path's own next hop, every other router the exit's loopback.

    `lease_end_s` is the end of their lease in Unix seconds. AS_PATH, ORIGIN and MED are copied from `path`; its
    communities are not. With None they are those of the decision, to compare next hops only.
    """
    egress, source = override.exit, path or override.source_path
    exit_router = pop.routers[egress.router]
    return {
        router: InjectedRoute(
            prefix=override.prefix,
            next_hop=egress.next_hop if router == egress.router else exit_router.loopback(override.prefix),
            as_path=source.as_path,
            origin=source.origin,
            med=source.med,
            local_pref=pop.override_local_pref,
            communities=tuple(sorted((pop.marker_community, NO_EXPORT))),
            large_community=(pop.asn, lease_end_s, 0),
        )
        for router in override.inject_on
    }


def copied(path: Path | InjectedRoute) -> tuple[object, ...]:
    """What an override copies of a path."""
    return path.as_path, path.origin, path.med
