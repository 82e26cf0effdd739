"""The clocks of pmbmpd: one stream's time for a PoP, from collectors whose hosts may disagree about the time.

The Kafka times of the topic are those of the collectors' hosts. Times of two collectors are never compared: each has an
offset to the stream's time, which goes on with whichever of them is fastest, as in app/te/traffic/writers.py.
"""

import msgspec

APART_S = 20.0  # below the default of `bmp_silence_s`; records of one collector may be late by some seconds
SET_BACK_S = 120.0  # less than this behind its own newest record, one was only sent again
HEARD_S = 60.0
SLOWER = 0.1  # by this share the time of the stream goes slower while it is ahead of all clocks
WRITERS_MAX = 64


class WriterClock(msgspec.Struct):
    """A collector's clock: `offset_s` is what makes its times the stream's, in which it was heard at `heard_s`.

    `at_s` is the newest time by its own clock, and `seq` the number of its newest record.
    """

    offset_s: float
    heard_s: float
    at_s: float = 0.0
    seq: int = 0


def began_again(writers: dict[str, WriterClock], writer: str, seq: int, at_s: float) -> bool:
    """Whether this collector counts from the beginning, in a new process with the same id, as in a container.

    Then a later record, by its own clock, has a lower number. A record that is only sent again has its old time.
    """
    clock = writers.get(writer)
    if clock is None:
        return False
    is_new = 0 < seq < clock.seq and at_s > clock.at_s
    clock.seq = seq if is_new else max(seq, clock.seq)
    return is_new


def stream_time(writers: dict[str, WriterClock], now_s: float, writer: str, at_s: float) -> float:
    """The stream's time, which was `now_s`, after a record of Kafka time `at_s` of this collector.

    Going ahead is believed, for it may be a pause of all collectors. One that is behind, because its clock is or was
    set, counts on from now: else a router of its own would be silent only when it has caught up.
    """
    clock = writers.get(writer)
    if clock is None:  # it may be the last one, which has started again
        newest = max(writers.values(), key=lambda each: each.heard_s, default=WriterClock(0.0, 0.0))
        clock = writers[writer] = WriterClock(newest.offset_s, now_s)
        if len(writers) > WRITERS_MAX:
            del writers[min(writers, key=lambda name: writers[name].heard_s)]
    if clock.at_s - SET_BACK_S <= at_s < clock.at_s:
        at_s = clock.at_s
    if at_s + clock.offset_s < now_s - APART_S:
        clock.offset_s = now_s - at_s
    elif clock.at_s:
        _slow_down(writers, now_s, SLOWER * (at_s - clock.at_s))
    clock.at_s = at_s
    clock.heard_s = max(now_s, at_s + clock.offset_s)
    return clock.heard_s


def _slow_down(writers: dict[str, WriterClock], now_s: float, by_s: float) -> None:
    """While all clocks that are heard are behind the stream's time, let it go slower, until they have caught up.

    It was ahead once: some clock jumped, and was put right.
    """
    heard = [each for each in writers.values() if each.heard_s >= now_s - HEARD_S]
    ahead_s = min((each.offset_s for each in heard), default=0.0)
    for each in heard if ahead_s > 0 else ():
        each.offset_s -= min(by_s / len(heard), ahead_s)


def clocks_apart(writers: dict[str, WriterClock], now_s: float) -> tuple[str, str, float] | None:
    """The fastest and the slowest of the collectors that are heard, and how far they differ, if that is much."""
    ahead_s = {name: -clock.offset_s for name, clock in writers.items() if clock.heard_s >= now_s - HEARD_S}
    if not ahead_s:
        return None
    fast, slow = max(ahead_s, key=ahead_s.__getitem__), min(ahead_s, key=ahead_s.__getitem__)
    apart_s = ahead_s[fast] - ahead_s[slow]
    return (fast, slow, apart_s) if apart_s > APART_S else None
