"""Who may write to a gobgpd: its owner, which says so in the gobgpd itself, where every other writer reads it.

The owner renews its claim every few seconds. A claim that has not changed for CLAIM_S has lapsed, by the reader's own
clock, so clocks of different hosts need not agree. A writer that can judge routes takes over from one that cannot.
"""

import os
import secrets
import socket

import msgspec

from app.clock import Clock
from app.contract.decoding import Read, reader_of

KEY = "owner"
CLAIM_S = 10.0
RENEW_S = 2.0
# From a first claim until the claimant may write: longer than a write may take, so that of two writers that saw no
# claim both have written by then, and only the later one reads its own.
SETTLE_S = 2.5
LOOKS_APART_S = 3 * RENEW_S  # a claim that was not looked at for longer is watched anew


class Note(msgspec.Struct):
    """What a claim says: who, whether it has read all it needs to judge routes, and a number that grows."""

    owner: str
    ready: bool
    renewal: int


_read: Read[Note] = reader_of(Note)


def new_owner() -> str:
    """A name for this process that no other one has; people find the process by it."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Claim:
    """The claim of the writer `owner` to one gobgpd. `holder` is another owner whose claim is in force, if any."""

    def __init__(self, clock: Clock, owner: str) -> None:
        self.is_mine = False
        self.holder: str | None = None
        self._clock = clock
        self._owner = owner
        self._claimed_s = self._written_s = self._looked_s = clock.monotonic_s()
        self._renewal = 0
        self._is_first = False
        self._other: bytes | None = None
        self._other_s = 0.0

    def look(self, seen: bytes | None, ready: bool) -> bytes | None:
        """Judge the claim that the gobgpd has now; return the one to write there, or None to leave it as it is."""
        now_s, note = self._clock.monotonic_s(), standing(seen)
        if now_s - self._looked_s > LOOKS_APART_S:
            self._other = None  # nobody knows whether it was renewed meanwhile
        self._looked_s = now_s
        if note is not None and note.owner == self._owner:
            self.is_mine = now_s - self._claimed_s >= SETTLE_S
            return self._write(ready) if now_s - self._written_s >= RENEW_S else None
        self.is_mine, self.holder = False, None
        if note is not None and not self._has_lapsed(seen, note, ready):
            self.holder = note.owner
            return None
        self._claimed_s, self._is_first = now_s, True
        return self._write(ready)

    def written(self) -> None:
        """The gobgpd has the claim that `look` returned: if it is a first one, time counts from now."""
        if not self.is_mine and self._is_first:
            self._claimed_s, self._is_first = self._clock.monotonic_s(), False

    def _has_lapsed(self, seen: bytes | None, note: Note, ready: bool) -> bool:
        now_s = self._clock.monotonic_s()
        if seen != self._other:
            self._other, self._other_s = seen, now_s
        return now_s - self._other_s >= CLAIM_S or (ready and not note.ready)

    def _write(self, ready: bool) -> bytes:
        self._written_s = self._clock.monotonic_s()
        self._renewal += 1
        return msgspec.json.encode(Note(self._owner, ready, self._renewal))


def standing(seen: bytes | None) -> Note | None:
    """The claim in a gobgpd; what cannot be read is somebody's all the same, until it lapses."""
    if seen is None:
        return None
    note = _read(seen)
    return note if isinstance(note, Note) else Note("unreadable", True, 0)
