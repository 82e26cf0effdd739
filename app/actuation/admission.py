"""The last check of an override before it may touch a router: every reason to refuse it, in one place. Pure.

No decision and no setting gets around these checks.
"""

import ipaddress
from collections.abc import Callable, Iterator

from app.config.forms import next_hop_is_martian
from app.config.inventory import Pop
from app.contract.schemas import Override
from app.te.decision.guards import Guards, family_refusal
from app.te.routing.path import UINT32_MAX, as_path_refusal


def refusal(pop: Pop, override: Override) -> str | None:
    """Return why this override may never be announced in this PoP, as a short reason; None if it may be."""
    return next((reason for guard in _GUARDS for reason in guard(pop, override)), None)


def next_hop_refusal(next_hop: str) -> str | None:
    """Return why no router may be given this next hop; None if it is allowed."""
    try:
        return "next-hop-martian" if next_hop_is_martian(next_hop) else None
    except ValueError:
        return "next-hop-invalid"


def _prefix(pop: Pop, override: Override) -> Iterator[str]:
    try:
        network = ipaddress.ip_network(override.prefix)
        never = Guards(pop).prefix(str(network))  # the same rules as in the decision
    except ValueError:
        yield "prefix-invalid"
        return
    if str(network) != override.prefix:
        yield "prefix-not-canonical"
    if never is not None:
        yield never


def _exit(pop: Pop, override: Override) -> Iterator[str]:
    egress = override.exit
    link = pop.links.get(egress.link)
    session = pop.session(egress.router, egress.peer)
    if link is None or link.router != egress.router:
        yield "unknown-link"
    elif session is None or session not in link.sessions:
        yield "unknown-session"
    elif pop.link_by_next_hop.get((egress.router, egress.next_hop)) != egress.link:  # sessions of a link share them
        yield "next-hop-not-of-session"
    elif link.drain:
        yield "link-drained"
    if (reason := next_hop_refusal(egress.next_hop) or family_refusal(override.prefix, egress.next_hop)) is not None:
        yield reason


def _routers(pop: Pop, override: Override) -> Iterator[str]:
    if override.exit.router not in override.inject_on:
        yield "exit-not-injected"
    for name in override.inject_on:
        router = pop.routers.get(name)
        if router is None:
            yield "unknown-router"
        elif router.exports_learned_routes:
            yield "exports-learned-routes"
    yield from _loopback(pop, override)


def _loopback(pop: Pop, override: Override) -> Iterator[str]:
    """The other routers are sent to a loopback of the exit router."""
    egress = pop.routers.get(override.exit.router)
    if egress is not None and len(override.inject_on) > 1:
        try:
            egress.loopback(override.prefix)
        except ValueError:
            yield "exit-without-loopback"


def _source(pop: Pop, override: Override) -> Iterator[str]:
    if (reason := as_path_refusal(override.source_path.as_path, pop.asn)) is not None:
        yield reason
    if not 0 <= (override.source_path.med or 0) <= UINT32_MAX:
        yield "med-invalid"


def _natural(pop: Pop, override: Override) -> Iterator[str]:
    """Strict uRPF on a natural link would drop what still arrives there from the prefix once it is moved away."""
    for exit_ in override.natural:
        if (link := pop.links.get(exit_.link)) is not None and link.urpf == "strict":
            yield "strict-urpf"


_GUARDS: tuple[Callable[[Pop, Override], Iterator[str]], ...] = (_prefix, _exit, _routers, _source, _natural)
