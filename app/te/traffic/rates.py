"""The sampling rates that are usual on each link, learned from its flow records.

The rate of a sample is its sender's word, and the bytes that the sample stands for are proportional to it. A router has
the same few rates all day; so one forged sample must not outweigh the thousands beside it.
"""

import msgspec

USUAL_SHARE = 0.1  # a rate is usual if so many of the link's recent records have it or a larger one
DOUBLINGS = 2  # above the usual rates that are believed: routers that adapt their rate double it step by step
FADING = 0.8  # weight of the records of a window in the next
RECORDS_MIN = 0.5  # fewer faded records are forgotten


class SampledRates(msgspec.Struct):
    """Records by link and size of the sampling rate in bits: `now` since the last close, and `past` faded.

    `accepted` is the largest rate that is believed, by link.
    """

    now: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    past: dict[str, dict[int, float]] = msgspec.field(default_factory=dict)
    accepted: dict[str, int] = msgspec.field(default_factory=dict)

    def count(self, link: str, rate: int, records: int) -> None:
        """Count records of a link with this sampling rate, whether they are believed or not."""
        counts = self.now.setdefault(link, {})
        bits = rate.bit_length()
        counts[bits] = counts.get(bits, 0) + records

    def learn(self) -> None:
        """A window closed: what was counted since the last one says what is usual from now on."""
        for link, counts in self.now.items():
            past = self.past.get(link, {})
            faded = {bits: FADING * past.get(bits, 0.0) + counts.get(bits, 0) for bits in {*past, *counts}}
            kept = self.past[link] = {bits: faded[bits] for bits in sorted(faded) if faded[bits] >= RECORDS_MIN}
            above, least = 0.0, USUAL_SHARE * sum(kept.values())
            for bits in reversed(kept):
                above += kept[bits]
                if above >= least:
                    self.accepted[link] = (1 << bits + DOUBLINGS) - 1
                    break
        self.now = {}
