"""Everything the demo has observed from outside when it ends: topics, routers' tables and commands, the kernel."""

import msgspec

from app.contract.schemas import Actuation, Decision, LinkUtilization
from app.lab.pop.report import Summary
from app.lab.pop.scenario import Verdict


class Kill(msgspec.Struct, frozen=True):
    """The neighbour that was killed and how many overrides led to it, by the routers' own tables. Unix seconds."""

    peer: str
    at_s: float
    overrides: int
    peer_down_s: float  # Kafka time of the BMP record
    gone_s: float  # when no router used an override through it any more


class Planted(msgspec.Struct, frozen=True):
    """A route that was put in past Autopilot; times are Unix seconds."""

    kind: str
    prefix: str
    from_s: float  # infinity if it never appeared
    gone_s: float  # infinity if it stayed although it was taken out
    taken_out: bool  # by the demo itself


class Injected(msgspec.Struct, frozen=True):
    """Bad input sent beside the simulated traffic and where it must be found; bytes are scaled by sampling rate."""

    unattributed_bytes: dict[str, int]  # by reason
    late_bytes: int
    dead_letters: int

    def with_more(self, other: "Injected") -> "Injected":
        """Both together."""
        reasons = {*self.unattributed_bytes, *other.unattributed_bytes}
        return Injected(
            {each: self.unattributed_bytes.get(each, 0) + other.unattributed_bytes.get(each, 0) for each in reasons},
            self.late_bytes + other.late_bytes,
            self.dead_letters + other.dead_letters,
        )

    @property
    def total_bytes(self) -> int:
        """All injected bytes, late or unattributed."""
        return self.late_bytes + sum(self.unattributed_bytes.values())


class Surge(msgspec.Struct, frozen=True):
    """The surged link according to the simulator; seconds since traffic began."""

    peak_natural: float  # share of capacity
    over_mark_s: float | None  # first second at or above the congestion threshold
    first_override_s: float | None
    drops_after_kill_s: float | None  # from the kill to the end of the last second with drops; None without a kill


class LinkTruth(msgspec.Struct, frozen=True):
    """The surged link in one window according to the simulator, bits per second."""

    window_start_s: int
    carried_bps: float
    natural_bps: float  # natural load of what was sent
    wanted_bps: float  # natural load of what was wanted, including what senders held back


class ByteAccount(msgspec.Struct, frozen=True):
    """The telemetry worker's account of every sampled byte, as it serves it in `/state/progress`."""

    records: int
    counted_bytes: int
    late_bytes: int
    unattributed_bytes: dict[str, int]
    closed_up_to_s: int | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the score is computed from.

    `congested_by_us` lists the links that exceeded the congestion threshold only because of our moves.
    """

    seconds_to_ready: float
    drained: bool
    surged_link: str
    summary: Summary
    progress: ByteAccount
    dead_letters: int
    udp_drops: int
    decisions: tuple[Decision, ...]
    close_to_decision_s: tuple[float, ...]
    utilization: tuple[LinkUtilization, ...]
    truth: tuple[LinkTruth, ...]
    actuations: tuple[Actuation, ...]
    surge: Surge
    kill: Kill | None
    marked_during: dict[str, int]  # routes with our community in each router's own command, by router
    marked_copies: dict[str, int]  # of those, how many have an AS path that a neighbour announces
    marked_after: dict[str, int]
    announcements_leaked: tuple[str, ...]
    overrides_leaked: int  # how many of those have our community
    announcements_received: int
    restarts: int
    crashes: int  # restarts that no freeze caused
    verdict: Verdict = "surge"
    congested_by_us: tuple[str, ...] = ()
    planted: tuple[Planted, ...] = ()
    loop_after_removal_s: float | None = None
    injected: Injected = Injected({}, 0, 0)
    counters_late_s: float = 0.0
    noticed: frozenset[str] = frozenset()  # kinds of all notices of the run
