"""What was last seen of a PoP, record by record. The page, the commands and `watch` all judge by the Seen made here."""

from collections.abc import Collection

from app.contract.schemas import ActuatorStatus, Decision, LinkUtilization, Sources
from app.web.conditions import Seen


class LastSeen:
    """The newest record of each kind of one PoP. Repeats, and what is older than the newest, change nothing.

    `window_s` is the length of windows in seconds until a record says it.
    """

    def __init__(self, window_s: int) -> None:
        self.decision: Decision | None = None
        self._window_s = window_s
        self._sources: Sources | None = None
        self._status: ActuatorStatus | None = None
        self._window_end_s: float | None = None
        self._silent: Collection[str] | None = None

    def take_window(self, record: LinkUtilization) -> None:
        """Take a closed window of a link."""
        self._end_window(record)

    def take_sources(self, record: Sources) -> None:
        """Take which routers were heard when a window closed."""
        if self._sources is None or record.window_start > self._sources.window_start:
            self._sources = record
            self._end_window(record)

    def take_status(self, status: ActuatorStatus) -> None:
        """Take a sign of life of the actuator."""
        if self._status is None or status.at > self._status.at:
            self._status = status

    def take_decision(self, decision: Decision) -> bool:
        """Take a decision, and return whether it is new; one that is not may be of an earlier epoch."""
        last = self.decision
        if last and (decision.epoch, decision.seq) <= (last.epoch, last.seq):
            return False
        self.decision = decision
        return True

    def take_silent(self, topics: Collection[str]) -> None:
        """Take which topics nobody writes to at the moment."""
        self._silent = topics

    def seen(self, now_s: float) -> Seen:
        """What is known at `now_s`, Unix seconds."""
        mode = self.decision.mode if self.decision else None
        return Seen(now_s, self._window_s, self._sources, self._status, mode, self._window_end_s, self._silent)

    def _end_window(self, record: LinkUtilization | Sources) -> None:
        end_s = record.window_start.timestamp() + record.window_s
        if end_s >= (self._window_end_s or 0.0):
            self._window_end_s, self._window_s = end_s, record.window_s
