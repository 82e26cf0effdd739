"""Which BMP record was sent last. pmbmpd numbers its records, and its producer may write some of them out of order.

The last word about a path or a peer counts: the one with the highest number, not the one that came last.
"""

from app.feeds.bmp import BmpRecord
from app.feeds.bmp_clocks import WriterClock

WORDS_MAX = 10_000  # a producer sends a few batches again, none of before them
Key = tuple[str | int, ...]


class Words:
    """The numbers of the newest words by what they are about: of WORDS_MAX at least, of twice as many at most."""

    def __init__(self) -> None:
        self._new: dict[Key, int] = {}
        self._old: dict[Key, int] = {}

    def newest(self, key: Key) -> int:
        """The number of the newest word about this; 0 if none is known."""
        return self._new.get(key) or self._old.get(key, 0)

    def note(self, key: Key, seq: int) -> None:
        """Note the newest word about this."""
        self._new[key] = seq
        if len(self._new) >= WORDS_MAX:
            self._old, self._new = self._new, {}


class LastWords:
    """The newest words about paths and peers. Records without a number (0) are taken as they come."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all numbers: a collector began again, and counts from 1."""
        self._paths, self._states, self._any = Words(), Words(), Words()  # `_any`: of a peer or any of its paths

    def path_is_outdated(self, record: BmpRecord, peer: str) -> bool:
        """Whether something newer was said about the path of this record, or its peer; if not, note it."""
        if not (seq := record.seq):
            return False
        of_peer = (record.session, peer)
        path = (*of_peer, record.ip_prefix, record.as_path_id)
        if seq < self._paths.newest(path) or seq < self._states.newest(of_peer):
            return True
        self._paths.note(path, seq)
        if seq > self._any.newest(of_peer):
            self._any.note(of_peer, seq)
        return False

    def peer_is_outdated(self, record: BmpRecord, peer: str) -> bool:
        """Whether something newer was said about a peer that goes up or down; if not, note it."""
        if not (seq := record.seq):
            return False
        of_peer = (record.session, peer)
        newest = self._any.newest(of_peer)
        if seq < (newest if record.bmp_msg_type == "peer_down" else self._states.newest(of_peer)):
            return True
        self._states.note(of_peer, seq)
        self._any.note(of_peer, max(seq, newest))
        return False


def left_out(clock: WriterClock | None, seq: int) -> int:
    """How many numbers a collector left out before this one; -1 if this one comes late, and was left out before."""
    if clock is None or not clock.seq or not seq:
        return 0
    return seq - clock.seq - 1 if seq > clock.seq else -(seq < clock.seq)
