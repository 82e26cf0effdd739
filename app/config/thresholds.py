"""The thresholds and timers of a decision. Nothing else defines a threshold."""

from typing import ClassVar

import msgspec

from app.config.forms import (
    Ratio,
    Seconds,
    SecondsAbove0,
    ShareAbove0,
    WholeSeconds,
    WholeSecondsAbove0,
    WindowLength,
)


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All thresholds, as shares of capacity unless noted otherwise."""

    RENAMED: ClassVar = {"act_now": "saturated"}

    enter: ShareAbove0 = 0.90
    """Share of capacity. Congestion of a link opens when its natural load (what plain BGP would send there) reaches
    this. Change: lower it for links whose load jumps within seconds.
    """
    saturated: ShareAbove0 = 0.97
    """Share of capacity. At this carried load, or with any discards, a link is relieved at once and down to
    `shed_to_saturated`. Change: lower it if a port drops before it is full.
    """
    shed_to: ShareAbove0 = 0.90
    """Share of capacity. A congested link is relieved down to this natural load; must not be above `enter`. Change:
    lower it to move more at a time, and less often.
    """
    shed_to_saturated: ShareAbove0 = 0.85
    """Share of capacity. As `shed_to`, for a saturated link, whose real demand cannot be seen. Change: lower it if
    demand comes back fast after a relief.
    """
    fill_to: ShareAbove0 = 0.80
    """Share of capacity. Our moves fill a target link at most up to this; must be below `enter`. Change: lower it to
    keep more room for the target's own growth.
    """
    leave: ShareAbove0 = 0.80
    """Share of capacity. Congestion closes, and moves are released, at or below this natural load; must be below
    `enter`. Change: lower it if moves come and go too often.
    """
    jump: ShareAbove0 = 0.10
    """Share of capacity. If the natural load of a link has risen by this much since a window, that window counts less
    in the shares of its prefixes (`pacing.share_attack_s`). Change: rarely.
    """
    ratio_low: ShareAbove0 = 0.7
    """Ratio. Flows over counters of a link, sampling error aside; below this the link is untrusted and nothing is
    moved from or to it. Change: only while you repair a router that samples too little.
    """
    ratio_high: Ratio = 1.3
    """Ratio, above 1. Flows over counters above which a link is untrusted. Change: as `ratio_low`."""
    mismatch_max: ShareAbove0 = 0.02
    """Share of bytes. If more traffic than this leaves by another link than routing predicts, for three windows, a
    PoP makes no new moves. Change: raise it only if you know the cause and it is harmless.
    """
    effective_min: ShareAbove0 = 0.5
    """Share of bytes. At least this share of a moved prefix must be seen on its new link; otherwise the move is given
    back and the prefix left alone for `pacing.quarantine_s`. Change: rarely.
    """


class Pacing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The timers of a decision, in seconds, and how fast moves are released."""

    RENAMED: ClassVar = {"hold_s": "lease_s", "min_hold_s": "min_stay_s", "unwind_share": "release_share"}

    add_within_s: SecondsAbove0 = 30.0
    """Seconds, at least `windows.grace_s` and three times `windows.refresh_s`. A decision may add overrides until this
    long after its window; later the traffic may have changed. Change: raise it if the broker is far away.
    """
    lease_s: SecondsAbove0 = 300.0
    """Seconds after the end of a window, at least three windows, `windows.grace_s` and 10 s. How long an override stays
    without renewal; every decision renews it. Change: a longer lease survives longer restarts of telemetry, a
    shorter one clears routes sooner when telemetry is gone.
    """
    min_stay_s: Seconds = 300.0
    """Seconds. The least time that a move stays before it is released. Change: shorter in a laboratory, longer if
    route changes are costly.
    """
    release_share: ShareAbove0 = 0.25
    """Share of the most that was moved off a link. At most this much goes back in one window, but at least one
    prefix. Change: lower it if links jump when traffic returns.
    """
    share_decay_s: SecondsAbove0 = 90.0
    """Seconds. Time constant with which older windows fade in the share of a prefix. Change: longer if sampling is
    sparse; `windows.retention_s` must be at least twice this.
    """
    share_attack_s: SecondsAbove0 = 15.0
    """Seconds. As `share_decay_s`, for windows before a jump of the link's load. Change: rarely."""
    quarantine_s: Seconds = 900.0
    """Seconds. A prefix whose traffic did not follow its override is not moved again for this long. Change: longer
    if a static route explains it.
    """


class Policy(msgspec.Struct, frozen=True):
    """The thresholds and timers that a decision goes by."""

    thresholds: Thresholds = Thresholds()
    pacing: Pacing = Pacing()


class WindowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tumbling windows by record time, and how late records may come."""

    length_s: WindowLength = 10
    """Seconds, 1 to 600. Length of a window; each window brings one decision. Change: at any time. Windows that have
    begun keep their length, and the new one holds from the next time that is a multiple of both.
    """
    grace_s: WholeSeconds = 2
    """Seconds. How long after its end a window stays open for late records. Change: raise it if
    `autopilot_late_ratio` is above 0.001.
    """
    refresh_s: WholeSecondsAbove0 = 2
    """Seconds. sfacctd's `kafka_refresh_time`; both must be the same. Change: together with sfacctd.conf."""
    retention_s: WholeSecondsAbove0 = 600
    """Seconds. How long closed windows stay in the table: at least 3 windows and twice `pacing.share_decay_s`,
    and longer than `grace_s`. Change: with those.
    """
