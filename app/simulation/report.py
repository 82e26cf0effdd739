"""What a run of seeds tells: one document, and its text for people."""

from app.simulation.play import SeedOutcome


def summary(outcome: SeedOutcome) -> dict[str, object]:
    """The document of one seed: with a violation, also the faults and the last events before it."""
    return {
        "seeds": 1,
        "violations": int(bool(outcome.violation)),
        "seed": outcome.seed,
        "violation": outcome.violation,
        "step": outcome.step,
        "at_s": round(outcome.at_s, 3),
        "faults": outcome.faults,
        "events": outcome.events,
    }


def text(document: dict[str, object]) -> str:
    """For people."""
    if "seed" in document:
        about = f"seed {document['seed']}, step {document['step']}, {document['at_s']} s"
        return f"{about}: {document['violation'] or 'every invariant holds'}"
    said = [f"{document['seeds']} seeds, {document['violations']} violations, {document['seconds']} s"]
    first = document["first"]
    assert isinstance(first, list)
    said += [f"  --seed {one['seed']}: {one['violation']} (at {one['at_s']} s)" for one in first]
    said += [f"sha256 of all events: {document['digest']}"] if "digest" in document else []
    return "\n".join(said)
