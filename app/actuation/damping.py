"""Damps overrides whose source path comes and goes, per prefix and exit: 30 s after a first loss, then twice as long.

Each round of a flap costs an update and a withdrawal on every router, and moves traffic to and fro (RFC 2439).
"""

from typing import NamedTuple

from app.clock import Clock
from app.contract.schemas import Exit

FIRST_S, LONGEST_S = 30.0, 900.0
TIDY_EVERY_S = 60.0


class _Loss(NamedTuple):
    lost_unix_s: float
    until_s: float
    step_s: float


class Damping:
    """Remembers lost source paths. One that stayed for LONGEST_S after its last damping starts anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._losses: dict[tuple[str, Exit], _Loss] = {}
        self._tidied_s = clock.monotonic_s()

    def lost(self, prefix: str, egress: Exit) -> None:
        """Note that the path of `egress` to a prefix was lost while an override copied it."""
        self._tidy()
        now_s, before = self._clock.monotonic_s(), self._losses.get((prefix, egress))
        is_flap = before is not None and now_s < before.until_s + LONGEST_S
        step_s = min(2 * before.step_s, LONGEST_S) if is_flap and before is not None else FIRST_S
        self._losses[prefix, egress] = _Loss(self._clock.now_s(), now_s + step_s, step_s)

    def refusal(self, prefix: str, egress: Exit, made_unix_s: float) -> str | None:
        """Why a decision that was made then may not send a prefix to `egress` now; None if it may."""
        if (loss := self._losses.get((prefix, egress))) is None:
            return None
        if made_unix_s <= loss.lost_unix_s:
            return "older-than-path-loss"
        return "damped" if self._clock.monotonic_s() < loss.until_s else None

    def _tidy(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._tidied_s >= TIDY_EVERY_S:
            self._tidied_s = now_s
            self._losses = {key: loss for key, loss in self._losses.items() if now_s < loss.until_s + LONGEST_S}
