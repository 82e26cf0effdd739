"""What happened between two decisions of a PoP, and what an actuation says, in one line each."""

from collections.abc import Iterator

from app.schemas import Actuation, Decision, Override
from app.web.documents import Event


def of_decision(decision: Decision, previous: Decision | None) -> Iterator[Event]:
    """What this decision changes against the one before it; without one, everything in it is new."""
    name, at = f"{decision.pop}/{decision.epoch}/{decision.seq}", decision.made_at
    for event in decision.congestion:
        if event.state != "open":
            loads = f"carried {event.carried:.0%}, dropped {event.dropped:.1%}, natural {event.natural:.0%} of capacity"
            text = f"{event.link}: congestion {event.state}; {loads}"
            yield Event(f"{name}/{event.state}/{event.link}", at, "congestion", text)
    before = {override.prefix: override for override in previous.overrides} if previous else {}
    for override in decision.overrides:
        known = before.get(override.prefix)
        if known is None or known.exit != override.exit:
            yield Event(f"{name}/move/{override.prefix}", at, "move", _moved(override))
    for released in decision.released:
        text = f"{released.prefix} given back: {released.reason}"
        yield Event(f"{name}/release/{released.prefix}", at, "release", text)
    known_refusals = set(previous.refused) if previous else set()
    for refused in decision.refused:
        if refused not in known_refusals:
            text = f"{refused.prefix} stays on {refused.link}: {refused.reason}"
            yield Event(f"{name}/refuse/{refused.prefix}/{refused.link}", at, "refusal", text)


def of_actuation(actuation: Actuation) -> Event:
    """What was done to a router, or not done."""
    hop = f" to {actuation.next_hop}" if actuation.next_hop else ""
    text = f"{actuation.router}: {actuation.prefix} {actuation.action}{hop}; {actuation.reason}"
    return Event(actuation.id, actuation.at, "actuation", text)


def _moved(override: Override) -> str:
    natural = ", ".join(sorted({exit_.link for exit_ in override.natural})) or "nowhere"
    gbps = f"{override.bps / 1e9:.2f} Gb/s"
    return f"{override.prefix} ({gbps}) from {natural} to {override.exit.link}: {override.reason}"
