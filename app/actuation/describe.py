"""What people see of the actuator of a PoP."""

from typing import Any

from app.actuation.reconciler import Reconciler


def describe_overrides(reconciler: Reconciler) -> dict[str, dict[str, str]]:
    """Return the state and reason of each prefix and its next hop by router."""
    return {
        prefix: {"state": entry.state, "reason": entry.reason}
        | {
            router: speaker.held[prefix].next_hop
            for router, speaker in reconciler.speakers.items()
            if prefix in speaker.held
        }
        for prefix, entry in reconciler.overrides.entries.items()
    }


def describe_speakers(reconciler: Reconciler) -> dict[str, dict[str, Any]]:
    """Return whether each speaker answers, how many routes it holds and should hold, and more.

    "doubtful": BMP of its router has been silent for too long, so nothing new is announced there. "holder": another
    writer, to whom it belongs.
    """
    return {
        router: {
            "reachable": speaker.reachable,
            "held": len(speaker.held),
            "wanted": len(speaker.target),
            "doubtful": router in reconciler.doubtful,
            "owned": speaker.owned,
            "holder": speaker.holder,
        }
        for router, speaker in reconciler.speakers.items()
    }
