"""The flow records that found no place, by reason and sender: enough to say what to change in which file."""

import msgspec

# Reasons why nobody believes what the samples would stand for: their bytes are no part of what was sampled.
NOT_BELIEVED = ("unlisted-sampling-rate", "unusual-sampling-rate", "impossible-weight")
NOT_OUTBOUND = "not-outbound"  # towards the inside or another edge: in order, from a router that samples all its ports
NOT_MEANT = (*NOT_BELIEVED, NOT_OUTBOUND)  # no part of the traffic of which a share may be unattributed
SENDERS_MAX = 64  # named at a time for each reason; the bytes of others are still counted


class UnplacedSender(msgspec.Struct):
    """Records that an sFlow agent sent and that were not counted for a link, and why.

    `number` is the ifIndex or the sampling rate that the reason is about, 0 if it is about neither.
    """

    reason: str
    agent: str
    number: int
    size_bytes: int = 0
    records: int = 0


class Unplaced(msgspec.Struct):
    """The senders since the last close (`now`) and those of the window before (`last`), with its counted bytes."""

    now: dict[str, UnplacedSender] = msgspec.field(default_factory=dict)
    last: dict[str, UnplacedSender] = msgspec.field(default_factory=dict)
    counted_bytes: int = 0

    def add(self, reason: str, agent: str, number: int, size_bytes: int, records: int) -> None:
        """Add records of one sender."""
        key = f"{reason}|{agent}|{number}"
        sender = self.now.setdefault(key, UnplacedSender(reason, agent, number))
        sender.size_bytes += size_bytes
        sender.records += records
        of_reason = [each for each in self.now if each.startswith(f"{reason}|")] if len(self.now) > SENDERS_MAX else ()
        if len(of_reason) > SENDERS_MAX:
            del self.now[max(of_reason)]  # not the last to come: the rest must not depend on the order

    def turn(self, counted_bytes: int) -> None:
        """A window closed for which `counted_bytes` were counted."""
        self.now, self.last, self.counted_bytes = {}, self.now, counted_bytes
