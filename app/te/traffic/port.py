"""A port and the readings of its counters, in the order of their times."""

import msgspec

OLDER_MAX = 3  # readings


class CounterSample(msgspec.Struct, frozen=True, array_like=True):
    """One reading of a port's counters. Octets are 64-bit counters; packets and discards wrap at 32 bits.

    `kind` is the ifType, 0 if unknown. `source` and `sequence` are the agent's number of the data source, and that of
    the sample within it; 0 if unknown. `came_s` is Kafka's time of the record; 0 in older rows.
    """

    at_s: float
    in_octets: int
    out_octets: int
    out_packets: int
    out_discards: int
    speed_bps: int
    up: bool
    kind: int = 0
    source: int = 0
    sequence: int = 0
    came_s: float = 0.0


class Port(msgspec.Struct):
    """What is remembered of a port: its readings in order of time, and what they have proven.

    `refuted_bps` is an ifSpeed that the port has exceeded. `aggregate` says whether it is the LAG of its link (True) or
    a member (False); None if that is not known or the port is alone. `older` are the last readings in a row that were
    older than the newest of `samples`. `applied` is the position of the newest record that has any of them.
    """

    samples: list[CounterSample]
    refuted_bps: int = 0
    aggregate: bool | None = None
    older: list[CounterSample] = msgspec.field(default_factory=list)
    applied: int = -1

    def until(self, came_s: float) -> "Port":
        """The same port with the readings that had come by this Kafka time."""
        if not self.samples or self.samples[-1].came_s <= came_s:
            return self
        return msgspec.structs.replace(self, samples=[one for one in self.samples if one.came_s <= came_s])

    def add(self, sample: CounterSample) -> bool:
        """Whether it counts. An older one does not, until OLDER_MAX in a row show that a clock was ahead."""
        if not self.samples or sample.at_s > self.samples[-1].at_s:
            self.older.clear()
            self.samples.append(sample)
            return True
        self.older = [*(one for one in self.older if one.at_s < sample.at_s), sample]
        if len(self.older) < OLDER_MAX:
            return False
        self.samples, self.older = self.older, []
        return True
