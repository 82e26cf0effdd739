"""The one table of thresholds and the clocks of a decision. Nothing else defines a threshold."""

from typing import ClassVar

import msgspec


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one table of thresholds, as shares of capacity where nothing else is said."""

    RENAMED: ClassVar = {"act_now": "saturated"}

    enter: float = 0.90  # open congestion: natural load at or above
    saturated: float = 0.97  # open at once: carried at or above, or any discards
    shed_to: float = 0.90
    shed_to_saturated: float = 0.85
    fill_to: float = 0.80  # a target link may be filled up to this
    leave: float = 0.80  # close congestion: natural load at or below
    jump: float = 0.10  # a level that rose by so much makes older shares fade fast
    ratio_low: float = 0.7  # flows over counters of a trusted link, sampling error aside
    ratio_high: float = 1.3
    mismatch_max: float = 0.02  # share of a PoP's bytes that may leave where routing does not predict it
    effective_min: float = 0.5  # share of a moved prefix's bytes that must be seen on its new link


class Pacing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clocks of a decision, seconds, and the pace of giving back."""

    RENAMED: ClassVar = {"hold_s": "lease_s", "min_hold_s": "min_stay_s", "unwind_share": "release_share"}

    add_within_s: float = 30.0
    lease_s: float = 300.0
    min_stay_s: float = 300.0
    release_share: float = 0.25
    share_decay_s: float = 90.0
    share_attack_s: float = 15.0  # instead, for windows from before a jump of the link's level
    quarantine_s: float = 900.0  # a prefix whose traffic did not follow its override is not moved again before


class Policy(msgspec.Struct, frozen=True):
    """What a decision goes by."""

    thresholds: Thresholds = Thresholds()
    pacing: Pacing = Pacing()


class WindowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tumbling windows by record time; `refresh_s` is sfacctd's kafka_refresh_time."""

    length_s: int = 10
    grace_s: int = 2
    refresh_s: int = 2
    retention_s: int = 600
