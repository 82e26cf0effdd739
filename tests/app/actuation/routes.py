"""Routes for tests."""

import msgspec

from app.bgp.speaker import NO_EXPORT, InjectedRoute

MARKER = "64512:911"


def route(prefix: str = "203.0.113.0/24", next_hop: str = "198.51.100.9", **changes: object) -> InjectedRoute:
    """An override of AS 64512, leased until second 41210; any field can be given."""
    plain = InjectedRoute(
        prefix=prefix,
        next_hop=next_hop,
        as_path=(64602, 65010),
        origin="igp",
        med=None,
        local_pref=1000,
        communities=(MARKER, NO_EXPORT),
        large_community=(64512, 41210, 0),
    )
    return msgspec.structs.replace(plain, **changes)
