"""The report on a run of seeds: one document, and its text for people."""

from app.simulation.play import SeedOutcome


def summary(outcome: SeedOutcome) -> dict[str, object]:
    """The document of one seed: its outcome, the faults and, if there is a violation, the last events before it."""
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
    """The document of one seed or of many as text for people."""
    if "seed" in document:
        about = f"seed {document['seed']}, step {document['step']}, {document['at_s']} s"
        return f"{about}: {document['violation'] or 'every invariant holds'}"
    lines = [f"{document['seeds']} seeds, {document['violations']} violations, {document['seconds']} s"]
    first = document["first"]
    assert isinstance(first, list)
    lines += [f"  --seed {entry['seed']}: {entry['violation']} (at {entry['at_s']} s)" for entry in first]
    lines += [f"sha256 of all events: {document['digest']}"] if "digest" in document else []
    return "\n".join(lines)
