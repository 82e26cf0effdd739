"""What the demo has seen when it ends, gathered from the outside: topics, routers' tables and commands, the kernel."""

import msgspec

from app.contract.schemas import Actuation, Decision, LinkUtilization
from app.lab.pop.report import Summary
from app.lab.pop.scenario import Verdict


class Kill(msgspec.Struct, frozen=True):
    """The neighbour that was killed, and the overrides that it carried by the routers' own tables."""

    peer: str
    at_s: float
    overrides: int
    peer_down_s: float  # Kafka time of the BMP record
    gone_s: float  # when neither router had an override through it any more


class Planted(msgspec.Struct, frozen=True):
    """A route that somebody else put in; Unix seconds."""

    kind: str
    prefix: str
    from_s: float  # infinity when it never showed
    gone_s: float  # infinity when it stayed although it was taken out
    taken_out: bool  # by the hand that put it in, as nobody else had done so by then


class Injected(msgspec.Struct, frozen=True):
    """What was put in beside the simulated traffic and where it must be found; bytes are scaled."""

    unattributed_bytes: dict[str, int]  # by reason
    late_bytes: int
    dead_letters: int

    @property
    def total_bytes(self) -> int:
        return self.late_bytes + sum(self.unattributed_bytes.values())


class Surge(msgspec.Struct, frozen=True):
    """The surged link by the simulator's truth; seconds since the start of traffic."""

    peak_natural: float  # share of capacity
    over_mark_s: float | None  # None when it never was
    first_override_s: float | None
    drops_after_kill_s: float | None  # from the kill to the end of the last second with drops, None without a kill


class LinkTruth(msgspec.Struct, frozen=True):
    """The surged link by the simulator's truth in one window, bits per second."""

    window_start_s: int
    carried_bps: float
    natural_bps: float  # of what was sent
    wanted_bps: float  # natural load of all that was wanted, whoever backed off


class ByteAccount(msgspec.Struct, frozen=True):
    """The telemetry worker's account of every sampled byte."""

    records: int
    counted_bytes: int
    late_bytes: int
    unattributed_bytes: dict[str, int]
    closed_up_to_s: int | None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the score is computed from; `congested_by_us` are links that only our moves filled above the mark."""

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
    marked_during: dict[str, int]  # prefixes with our community, by router, in the router's own command
    marked_copies: dict[str, int]  # of those, how many show the AS path of a live neighbour's announcement
    marked_after: dict[str, int]
    announcements_leaked: tuple[str, ...]
    overrides_leaked: int  # of those, with our community
    announcements_received: int
    restarts: int
    verdict: Verdict = "surge"
    congested_by_us: tuple[str, ...] = ()
    planted: tuple[Planted, ...] = ()
    loop_after_removal_s: float | None = None
    injected: Injected = Injected({}, 0, 0)
