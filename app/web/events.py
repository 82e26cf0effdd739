"""Turns the changes between two decisions of a PoP, and actuations, into events of one line each."""

from collections.abc import Iterator
from typing import Literal

from app.contract.schemas import Actuation, Decision, Override
from app.web.documents import PageEvent


def of_decision(decision: Decision, previous: Decision | None) -> Iterator[PageEvent]:
    """Yield what a decision changes compared to the previous one; without a previous one, all of it is new."""
    name, at = f"{decision.pop}/{decision.epoch}/{decision.seq}", decision.made_at
    for event in decision.congestion:
        if event.state != "open":
            dropped = "unknown" if event.dropped is None else f"{event.dropped:.1%}"
            loads = f"carried {event.carried:.0%}, dropped {dropped}, natural {event.natural:.0%} of capacity"
            what = f"congestion {event.state}; {loads}"
            kind: Literal["congestion", "relief"] = "congestion" if event.state == "opened" else "relief"
            yield PageEvent(f"{name}/{event.state}/{event.link}", at, kind, short(event.link), what)
    before = {override.prefix: override for override in previous.overrides} if previous else {}
    for override in decision.overrides:
        known = before.get(override.prefix)
        if known is None or known.exit != override.exit:
            what = _moved(override)
            yield PageEvent(f"{name}/move/{override.prefix}", at, "move", override.prefix, what, override.bps)
    for released in decision.released:
        override_before = before.get(released.prefix)
        what, bps = f"released: {released.reason}", override_before.bps if override_before else 0.0
        yield PageEvent(f"{name}/release/{released.prefix}", at, "release", released.prefix, what, bps)
    refused_before = previous.refused if previous else ()
    known_refusals = {(refused.prefix, refused.link, refused.reason) for refused in refused_before}
    for refused in decision.refused:
        if (refused.prefix, refused.link, refused.reason) not in known_refusals:
            subject = "traffic without a known prefix" if refused.prefix == "*" else refused.prefix
            what = f"kept on {short(refused.link)}: {refused.reason}"
            yield PageEvent(f"{name}/refuse/{refused.prefix}/{refused.link}", at, "refusal", subject, what, refused.bps)


def of_actuation(actuation: Actuation) -> PageEvent:
    """Return the event of an actuation: what was done, or refused, on a router."""
    what = f"{actuation.action} on {actuation.router}: {actuation.reason}"
    return PageEvent(actuation.id, actuation.at, "actuation", actuation.prefix, what)


def short(link: str) -> str:
    """Return `pop/router/name` as the page shows it, `router name`; the name may hold slashes itself (et-0/0/1)."""
    _, router, name = link.split("/", 2)
    return f"{router} {name}"


def _moved(override: Override) -> str:
    links = sorted({exit_.link for exit_ in override.natural})
    natural = ", ".join(map(short, links)) or "nowhere"
    reason = override.reason.removeprefix(f"{links[0]} ") if len(links) == 1 else override.reason  # not named twice
    return f"moved from {natural} to {short(override.exit.link)}: {reason}"
