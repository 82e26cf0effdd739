"""The sampling rates that are usual on each link and router, learned from their flow records.

The rate of a sample is its sender's word, and the bytes that the sample stands for are proportional to it. A router has
the same few rates all day; so one forged sample must not outweigh the thousands beside it. Where a link has few, its
counters have to show the traffic that they stand for.
"""

from math import inf

import msgspec

USUAL_SHARE = 0.1  # a rate is usual if so many of the recent records have it or a larger one
RECORDS_MIN = 30.0  # fewer recent records show nothing: all of them may be forged
DOUBLINGS = 2  # above the usual rates that are believed: routers that adapt their rate double it step by step
CARRIED_TIMES = 4  # few records stand for at most so many times what the counters of their link show: they are chance
FADING = 0.8  # weight of the records of a window in the next
FORGOTTEN = 0.5  # fewer faded records are forgotten


class SampledRates(msgspec.Struct):
    """Records by sender, which is a link or a router, and size of their sampling rate in bits.

    `now` are those since the last close, `past` earlier ones, faded. `accepted` is the largest rate that is believed.
    `claimed` are the bytes that the records of a link stand for since it last had enough of them, and `carried` those
    that its counters show meanwhile.
    """

    now: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    past: dict[str, dict[int, float]] = msgspec.field(default_factory=dict)
    accepted: dict[str, int] = msgspec.field(default_factory=dict)
    claimed: dict[str, int] = msgspec.field(default_factory=dict)
    carried: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, sender: str, rate: int, records: int, size_bytes: int = 0) -> None:
        """Count records with this sampling rate that stand for so many bytes, whether they are believed or not."""
        self.claimed[sender] = self.claimed.get(sender, 0) + size_bytes
        counts = self.now.setdefault(sender, {})
        bits = rate.bit_length()
        counts[bits] = counts.get(bits, 0) + records

    def most(self, link: str, router: str) -> float:
        """The largest rate that is believed on a link; infinite while not even its router shows what is usual."""
        return self.accepted.get(link, self.accepted.get(router, inf))

    def compare(self, link: str, carried_bytes: float) -> None:
        """The counters of a link show so many bytes in a window that closed."""
        if link in self.claimed:
            self.carried[link] = self.carried.get(link, 0) + int(carried_bytes)

    def learn(self) -> None:
        """A window closed: what was counted since the last one says what is usual from now on."""
        for sender, counts in self.now.items():
            past = self.past.get(sender, {})
            few = max(sum(past.values()), sum(counts.values())) < RECORDS_MIN
            fading = 1.0 if few else FADING  # a link with few records a window would never have enough
            faded = {bits: fading * past.get(bits, 0.0) + counts.get(bits, 0) for bits in {*past, *counts}}
            kept = self.past[sender] = {bits: faded[bits] for bits in sorted(faded) if faded[bits] >= FORGOTTEN}
            if (total := sum(kept.values())) >= RECORDS_MIN:
                claimed, carried = self.claimed.pop(sender), self.carried.pop(sender, None)
                if few and carried is not None and claimed > CARRIED_TIMES * carried:
                    del self.past[sender]
                else:
                    self.accepted[sender] = (1 << _usual_bits(kept, total) + DOUBLINGS) - 1
        self.now = {}


def _usual_bits(records: dict[int, float], total: float) -> int:
    """The largest size of which there are enough records, together with those above it."""
    above = 0.0
    for bits in sorted(records, reverse=True):
        above += records[bits]
        if above >= USUAL_SHARE * total:
            break
    return bits
