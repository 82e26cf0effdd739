"""From an override to the route each router is given. Pure; the guards have passed."""

import ipaddress

from app.bgp.speaker import NO_EXPORT, InjectedRoute
from app.config.inventory import Pop
from app.contract.schemas import Override


def render(pop: Pop, override: Override, epoch: int, seq: int) -> dict[str, InjectedRoute]:
    """The route by router: the exit gets the path's own next hop, every other router the exit's loopback.

    AS_PATH, ORIGIN and MED are the source path's; its communities are not copied.
    """
    where, source = override.exit, override.source_path
    exit_router = pop.routers[where.router]
    is_ipv6 = ipaddress.ip_network(override.prefix).version == 6
    loopback = exit_router.loopback6 if is_ipv6 else exit_router.loopback4
    return {
        router: InjectedRoute(
            prefix=override.prefix,
            next_hop=where.next_hop if router == where.router else loopback,
            as_path=source.as_path,
            origin=source.origin,
            med=source.med,
            local_pref=pop.override_local_pref,
            communities=tuple(sorted((pop.marker_community, NO_EXPORT))),
            large_community=(pop.asn, epoch, seq),
        )
        for router in override.inject_on
    }
