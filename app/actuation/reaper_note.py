"""How the reaper beside a gobgpd shows that it lives: by a note in that gobgpd, which changes when it has looked."""

from collections.abc import Mapping

from app.clock import Clock

KEY = "reaper"
SILENT_S = 15.0


class ReaperWatch:
    """Judges by the reader's own clock whether a reaper lives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._note: bytes | None = None
        self._since_s = clock.monotonic_s()
        self._has_changed = False

    def guards(self, notes: Mapping[str, bytes]) -> bool | None:
        """Whether a reaper has looked within SILENT_S; None until that can be known."""
        now_s, note = self._clock.monotonic_s(), notes.get(KEY)
        if note != self._note:
            self._has_changed |= self._note is not None and note is not None
            self._note, self._since_s = note, now_s
        if now_s - self._since_s > SILENT_S:
            self._has_changed = False
            return False
        return True if self._has_changed else None
