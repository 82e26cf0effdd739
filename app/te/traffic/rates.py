"""The sampling rates that are usual on each link and router, learned from their flow records.

The rate of a sample is its sender's word, and the bytes that the sample stands for are proportional to it. A router has
the same few rates all day; so one forged sample must not outweigh the thousands beside it.
"""

from math import inf

import msgspec

USUAL_SHARE = 0.1  # a rate is usual if so many of the recent records have it or a larger one
RECORDS_MIN = 30.0  # fewer recent records show nothing: all of them may be forged
DOUBLINGS = 2  # above the usual rates that are believed: routers that adapt their rate double it step by step
FADING = 0.8  # weight of the records of a window in the next
FORGOTTEN = 0.5  # fewer faded records are forgotten


class SampledRates(msgspec.Struct):
    """Records by sender, which is a link or a router, and size of their sampling rate in bits.

    `now` are those since the last close, `past` earlier ones, faded. `accepted` is the largest rate that is believed.
    """

    now: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    past: dict[str, dict[int, float]] = msgspec.field(default_factory=dict)
    accepted: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, sender: str, rate: int, records: int) -> None:
        """Count records with this sampling rate, whether they are believed or not."""
        counts = self.now.setdefault(sender, {})
        bits = rate.bit_length()
        counts[bits] = counts.get(bits, 0) + records

    def most(self, link: str, router: str) -> float:
        """The largest rate that is believed on a link; infinite while not even its router shows what is usual."""
        return self.accepted.get(link, self.accepted.get(router, inf))

    def learn(self) -> None:
        """A window closed: what was counted since the last one says what is usual from now on."""
        for sender, counts in self.now.items():
            past = self.past.get(sender, {})
            fading = FADING if sum(past.values()) >= RECORDS_MIN else 1.0  # else few records a window never show anything
            faded = {bits: fading * past.get(bits, 0.0) + counts.get(bits, 0) for bits in {*past, *counts}}
            kept = self.past[sender] = {bits: faded[bits] for bits in sorted(faded) if faded[bits] >= FORGOTTEN}
            if (total := sum(kept.values())) >= RECORDS_MIN:
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
