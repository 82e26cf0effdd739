"""One port's counters: which of its readings can be believed, and the rates between them.

A counter has a width, and all ones mean that it is not supported (sFlow version 5). A step between two readings is
believed only if it is possible in its time at the port's speed; a fall is a wrap only where a wrap is possible.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple, TypeVar

from app.te.traffic.port import CounterSample

WRAP_32, WRAP_64 = 1 << 32, 1 << 64
UNSUPPORTED = (WRAP_32 - 1, WRAP_64 - 1)
SPEED_MAX_BPS = 10**14  # a port that claims more would always look empty
MARGIN = 1.1  # over the port's speed: preambles, checksums, and speeds that are rounded down
JITTER_S = 2.0  # readings are dated when they arrive; an agent may hold them back for a moment
FRAME_MIN_BYTES, FRAME_MAX_BYTES = 64, 16_384
FRAME_USUAL_BYTES = 800  # of a discarded packet, where the counters name no possible size
SEQUENCE_AHEAD = 10_000  # samples that may be lost, or numbered for other ports, between two readings; and per second:
SEQUENCE_AHEAD_PER_S = 1_000
UNREAD_SHARE = 0.6  # windows close 4 s after their end by default: whatever the phase, each reading completes one
RESTART, LOOK_BACK = 2, 8  # readings
PAIR_POLLS = 1.5  # two readings in a row take about two polls; what is forged lies between two true ones
STEADY_S = 30.0  # of readings, beside which the age of the first and of the last one is small
LAZY_S = 1.0  # below this, equal readings are one reading that was sent twice
LAZY_SHARE = 0.01  # of the port's speed: less than this says nothing on how often an agent refreshes its counters

T = TypeVar("T")


class Counted(NamedTuple):
    """What a port counted between two times. None: the counter is not supported or was reset; discards then are 0."""

    begin_s: float
    end_s: float
    in_octets: int | None
    out_octets: int | None
    out_discards: int | None

    @property
    def length_s(self) -> float:
        return self.end_s - self.begin_s

    @property
    def carried_bps(self) -> float | None:
        """Bits per second that left; None if unknown."""
        return None if self.out_octets is None else 8 * self.out_octets / self.length_s


class Course(NamedTuple):
    """The believed readings of a port, and the steps between them without a hole, both in order of time.

    `refused_s` are the times of the readings between them that do not fit. `lazy` says that the agent refreshes its
    counters more rarely than it sends them; `poll_s` is the mean time between two readings. A reading may have been
    true `stale_s` before its time, as far as is known. `narrow` says that no octets above 32 bits were ever read.
    """

    readings: Sequence[CounterSample] = ()
    steps: Sequence[Counted] = ()
    frame_bytes: float = FRAME_USUAL_BYTES
    refused_s: Sequence[float] = ()
    lazy: bool = False
    poll_s: float = 0.0
    stale_s: float = JITTER_S
    narrow: bool = False


class PortRates(NamedTuple):
    """A port's loads in a window, in bits per second; None for what is not known.

    Two readings in a row show at least `low_bps` and at most `high_bps`, and at least `dropped_low_bps` of drops.
    `sure_bps` is what is left of `low_bps`, and `steady_bps` the least in STEADY_S or more, if the readings are as old
    as they may be. At `wraps_bps` of flows or more, the octets may have wrapped unseen. `last_bps` is the carried load
    in the last step, whether or not that reaches into the window.
    """

    carried_bps: float | None
    dropped_bps: float | None
    received_bps: float | None
    low_bps: float | None
    high_bps: float | None
    sure_bps: float | None
    steady_bps: float | None
    wraps_bps: float
    dropped_low_bps: float
    last_bps: float | None


NOTHING_KNOWN = PortRates(None, None, None, None, None, None, None, inf, 0.0, None)


def follow(samples: Sequence[CounterSample], fastest_bps: float) -> Course:
    """The course of a port that cannot be faster than `fastest_bps`, from its readings in order of time.

    Of readings that contradict each other those are believed that most others fit on, and of two such lines the newer
    one: a port that was restarted is believed from its second reading on, and what was forged, or came in the wrong
    order, is refused.
    """
    if not samples:
        return Course()
    judge = _Judge(samples, fastest_bps)
    line = judge.line(samples)
    readings = [samples[index] for index in line]
    refused_s = [samples[index].at_s for index in sorted({*range(line[-1])} - {*line})]
    stretches = _stretches(readings)
    frame_bytes = judge.frame_bytes(stretches)
    steps, lazy = judge.steps(stretches, frame_bytes)
    poll_s = (samples[-1].at_s - samples[0].at_s) / max(len(samples) - 1, 1)
    stale_s = max(JITTER_S, *(until_s - one.at_s for one, until_s in stretches))
    narrow = max(one.out_octets for one in readings) < WRAP_32
    return Course(readings, steps, frame_bytes, refused_s, lazy, poll_s, stale_s, narrow)


def port_rates(course: Course, start_s: float, end_s: float) -> PortRates:
    """The rates of a port in [start_s, end_s); only the last load if its readings do not cover it.

    The end may be up to UNREAD_SHARE of the window after the last reading, because polls are not aligned with windows.
    """
    steps = course.steps
    last_bps = steps[-1].carried_bps if steps else None
    unread_s = UNREAD_SHARE * (end_s - start_s)
    inside = [index for index, step in enumerate(steps) if step.end_s > start_s and step.begin_s < end_s]
    if not inside or steps[inside[0]].begin_s > start_s or end_s - steps[inside[-1]].end_s >= unread_s:
        return NOTHING_KNOWN._replace(last_bps=last_bps)
    span = steps[inside[0] : inside[-1] + 1]
    parts = [_part(step, start_s, end_s, step is span[-1]) for step in span]
    bits = 8 / (end_s - start_s)
    carried = _sum([step.out_octets for step in span], parts)
    received = _sum([step.in_octets for step in span], parts)
    discards = [step.out_discards for step in span]
    dropped = None if None in discards and not any(discards) else _sum([count or 0 for count in discards], parts)
    near = steps[max(inside[0] - 1, 0) : inside[-1] + 1]
    pairs = [pair for pair in pairwise(near) if _in_a_row(*pair, course)]
    levels = [(one.carried_bps, two.carried_bps, two.end_s - one.begin_s) for one, two in pairs]
    known = [(one, two, length_s) for one, two, length_s in levels if one is not None and two is not None]
    drops = [min(_dropped_bps(step, course.frame_bytes) for step in pair) for pair in pairs]
    longest_s = max(step.length_s for step in span)
    return PortRates(
        carried_bps=None if carried is None else carried * bits,
        dropped_bps=None if dropped is None else dropped * course.frame_bytes * bits,
        received_bps=None if received is None else received * bits,
        low_bps=max((min(one, two) for one, two, _ in known), default=None),
        high_bps=min((max(one, two) for one, two, _ in known), default=None),
        sure_bps=max((min(one, two) * _surely(length_s, course) for one, two, length_s in known), default=None),
        steady_bps=_steady_bps(steps[: inside[-1] + 1], course),
        wraps_bps=8 * WRAP_32 / longest_s if course.narrow else inf,
        dropped_low_bps=max(drops, default=0.0),
        last_bps=last_bps,
    )


def settled(values: Sequence[T]) -> T:
    """The newest value that two readings in a row agree on; if no two do, the commonest. `values` must not be empty."""
    agreed = (two for one, two in reversed(list(pairwise(values))) if one == two)
    return next(agreed, None) or Counter(values).most_common(1)[0][0]


class _Judge:
    """What is possible for one port, given all its readings."""

    def __init__(self, samples: Sequence[CounterSample], fastest_bps: float) -> None:
        self._fastest_bps = fastest_bps
        octets = [sample.out_octets for sample in samples if sample.out_octets not in UNSUPPORTED]
        # Some agents wrap octets at 32 bits, too: all of theirs are below that, and they fall again and again.
        self._narrow = max(octets, default=0) < WRAP_32 and any(two < one for one, two in pairwise(octets))
        # An agent whose numbers are wrong most of the time has none worth looking at.
        pairs = list(pairwise(samples))
        self._numbered = 2 * sum(not _in_sequence(one, two) for one, two in pairs) < len(pairs)

    def line(self, samples: Sequence[CounterSample]) -> list[int]:
        """The places of the readings to believe: the line with the most of them; a restart costs as much as two."""
        places, changed_s = list(range(len(samples))), [samples[0].at_s]
        for now, later in pairwise(samples):
            if not self._fits(now, changed_s[-1], later):
                break
            changed_s.append(changed_s[-1] if _same(now, later) else later.at_s)
        else:
            return places
        changed_s, scores, before = [samples[0].at_s], [1], [-1]
        for place in places[1:]:
            later = samples[place]
            near = places[max(0, place - LOOK_BACK) : place]
            fitting = [self._fits(samples[one], changed_s[one], later) for one in near]
            values = [scores[one] + 1 - (0 if fits else RESTART) for one, fits in zip(near, fitting, strict=True)]
            best = max(range(len(near)), key=lambda index: (values[index], index))
            scores.append(values[best])
            before.append(near[best])
            stands = fitting[best] and _same(samples[near[best]], later)
            changed_s.append(changed_s[near[best]] if stands else later.at_s)
        line = [max(places, key=lambda place: (scores[place], place))]
        while before[line[-1]] >= 0:
            line.append(before[line[-1]])
        return line[::-1]

    def _fits(self, now: CounterSample, changed_s: float, later: CounterSample) -> bool:
        """Whether `later` can follow on `now`, whose counters have stood where they are since `changed_s`."""
        if self._numbered and not _in_sequence(now, later):
            return False
        unsupported = now.out_octets in UNSUPPORTED, later.out_octets in UNSUPPORTED
        most = self._octets(later.at_s - changed_s)
        if any(unsupported) or (self._narrow and most >= WRAP_32):
            return all(unsupported) or not any(unsupported)
        return self._moved(now.out_octets, later.out_octets, most) is not None

    def frame_bytes(self, stretches: "Sequence[Stretch]") -> float:
        """The mean size of a packet that left, if its two counters make it a possible one; else a usual size."""
        octets = packets = 0
        for (now, _), (later, _) in pairwise(stretches):
            unsupported = now.out_packets in UNSUPPORTED or later.out_packets in UNSUPPORTED
            counted = 0 if unsupported else (later.out_packets - now.out_packets) % WRAP_32
            moved = self._moved(now.out_octets, later.out_octets, self._octets(later.at_s - now.at_s))
            if counted and moved:
                octets += moved
                packets += counted
        mean = octets / packets if packets else 0.0
        return mean if FRAME_MIN_BYTES <= mean <= FRAME_MAX_BYTES else FRAME_USUAL_BYTES

    def steps(self, stretches: "Sequence[Stretch]", frame_bytes: float) -> tuple[list[Counted], bool]:
        """The steps between readings, and whether the agent is lazy.

        Equal readings are no readings: the agent may not have refreshed them. While that is not known of it, the port
        has stood still.
        """
        lazy = sum(self._is_lazy(one, until_s, two) for (one, until_s), (two, _) in pairwise(stretches)) > 1
        steps: list[Counted] = []
        for (now, until_s), (later, _) in pairwise(stretches):
            begin_s = now.at_s
            if until_s > begin_s and not lazy and self._could_wait(now, until_s, later):
                steps.append(self._step(now, begin_s, now, until_s, frame_bytes))
                begin_s = until_s
            steps.append(self._step(now, begin_s, later, later.at_s, frame_bytes))
        last, until_s = stretches[-1]
        if until_s > last.at_s and not lazy:
            steps.append(self._step(last, last.at_s, last, until_s, frame_bytes))
        return steps, lazy

    def _step(
        self, now: CounterSample, begin_s: float, later: CounterSample, end_s: float, frame_bytes: float
    ) -> Counted:
        most = self._octets(end_s - begin_s)
        return Counted(
            begin_s,
            end_s,
            self._moved(now.in_octets, later.in_octets, most),
            self._moved(now.out_octets, later.out_octets, most),
            self._discards(now.out_discards, later.out_discards, most, frame_bytes),
        )

    def _octets(self, seconds: float) -> float:
        """The most that the port can send in this time."""
        return MARGIN * self._fastest_bps / 8 * (seconds + JITTER_S)

    def _moved(self, now: int, later: int, most: float) -> int | None:
        """The octets between two readings; None if no way from one to the other is possible, or several are."""
        if now in UNSUPPORTED or later in UNSUPPORTED or (self._narrow and most >= WRAP_32):
            return None
        if later >= now:
            return later - now if later - now <= most else None
        widths = [width for width in (WRAP_32, WRAP_64) if now < width and most < width]  # else it may wrap twice
        return next((moved for width in widths if (moved := (later - now) % width) <= most), None)

    @staticmethod
    def _discards(now: int, later: int, most: float, frame_bytes: float) -> int | None:
        """Discards in a step: 0 if the counter was restarted in it, or rose by more than fits on the port."""
        if now in UNSUPPORTED or later in UNSUPPORTED:
            return None
        if later >= now:
            return later - now if (later - now) * FRAME_MIN_BYTES <= most else 0
        wrapped = (later - now) % WRAP_32
        return wrapped if now < WRAP_32 and wrapped < WRAP_32 // 2 and wrapped * frame_bytes <= most else 0

    def _could_wait(self, now: CounterSample, until_s: float, later: CounterSample) -> bool:
        """Whether the port can have stood still until `until_s` and yet be where it was next read."""
        return self._moved(now.out_octets, later.out_octets, self._octets(later.at_s - until_s)) is not None

    def _is_lazy(self, now: CounterSample, until_s: float, later: CounterSample) -> bool:
        moved = self._moved(now.out_octets, later.out_octets, self._octets(later.at_s - now.at_s))
        return until_s - now.at_s >= LAZY_S and 8 * (moved or 0) > LAZY_SHARE * self._fastest_bps * (
            later.at_s - now.at_s
        )


def _in_sequence(now: CounterSample, later: CounterSample) -> bool:
    """Whether the later sample's number is a little ahead. Samples without numbers of their own are in sequence."""
    if not (now.sequence and later.sequence) or now.sequence == later.sequence or now.source != later.source:
        return True
    ahead = (later.sequence - now.sequence) % WRAP_32
    return ahead <= SEQUENCE_AHEAD + SEQUENCE_AHEAD_PER_S * (later.at_s - now.at_s)


def _same(one: CounterSample, other: CounterSample) -> bool:
    """Whether no counter has moved between two readings."""
    return (
        one.out_octets == other.out_octets
        and one.in_octets == other.in_octets
        and one.out_packets == other.out_packets
        and one.out_discards == other.out_discards
    )


Stretch = tuple[CounterSample, float]  # the first of some readings with equal counters, and the time of the last


def _stretches(readings: Sequence[CounterSample]) -> list[Stretch]:
    stretches: list[Stretch] = []
    for reading in readings:
        if stretches and _same(stretches[-1][0], reading):
            stretches[-1] = stretches[-1][0], reading.at_s
        else:
            stretches.append((reading, reading.at_s))
    return stretches


def _part(step: Counted, start_s: float, end_s: float, is_last: bool) -> float:
    """The share of a step that lies in the window; the last step is continued to the window's end."""
    until_s = end_s if is_last else min(step.end_s, end_s)
    return (until_s - max(step.begin_s, start_s)) / (step.end_s - step.begin_s)


def _sum(counts: Sequence[int | None], parts: Sequence[float]) -> float | None:
    known = [count * part for count, part in zip(counts, parts, strict=True) if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _in_a_row(one: Counted, two: Counted, course: Course) -> bool:
    """Whether nothing came between the readings of two steps, and they are not nearer than what the agent sends."""
    undisputed = not any(one.begin_s < at_s < two.end_s for at_s in course.refused_s)
    return undisputed and two.end_s - one.begin_s >= PAIR_POLLS * course.poll_s


def _surely(length_s: float, course: Course) -> float:
    """The share of what was counted in this time that left in it, even if the first reading was the older one."""
    return length_s / (length_s + course.stale_s)


def _steady_bps(steps: Sequence[Counted], course: Course) -> float | None:
    """The most that the last steps surely show in STEADY_S or more, whether or not the first or last one is forged."""
    octets, best_bps, end_s = 0, None, steps[-1].end_s
    from_s = max((at_s for at_s in course.refused_s if at_s < end_s), default=-inf)
    for first in reversed(steps):
        if first.out_octets is None or first.begin_s < from_s:
            break
        octets += first.out_octets
        parts = [(octets - (end.out_octets or 0), end_s - first.begin_s - end.length_s) for end in (first, steps[-1])]
        if min(length_s for _, length_s in parts) >= STEADY_S:
            best_bps = max(min(8 * count / (length_s + course.stale_s) for count, length_s in parts), best_bps or 0.0)
    return best_bps


def _dropped_bps(step: Counted, frame_bytes: float) -> float:
    return 8 * (step.out_discards or 0) * frame_bytes / step.length_s
