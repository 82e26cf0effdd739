"""What is remembered of the BMP of a PoP besides its paths: sessions, peers, clocks and alarms. A row keeps it."""

from typing import Literal

import msgspec

from app.feeds.bmp_clocks import WriterClock
from app.feeds.stale_paths import Awaited

OVER_S = 600.0  # so long after its last record a session has ended, whether or not that was heard
# What was not read of a session: its beginning; records that retention removed first; or the order of what was sent.
Unread = Literal["", "beginning", "gap", "order"]


class BmpSession(msgspec.Struct):
    """One BMP session. Times are Kafka's. Without a router, its records are ignored for the reason in `ignored`.

    `whole` says that the Rib has the whole table that the router reported in it: what was there before is refreshed.
    `peers` are those that it reported, and it vouches for no other: some routers have one session for each of their
    instances. None is of a row that was written before, and stands for all.
    With something `unread` it never becomes whole, because no session says twice what it has said: the next one does.
    `sysname` is how the router called itself, and `first_seq` the number of the record by which the session is known.
    """

    router: str | None
    heard_s: float
    began_s: float = 0.0
    seq: int = 0  # of its last record, by its collector's counter
    whole: bool = False
    ended: bool = False
    ignored: str = ""
    peers: set[str] | None = None
    unread: Unread = ""
    sysname: str = ""
    first_seq: int = 0

    @property
    def over_s(self) -> float:
        """When it ended, or will have if it is not heard again."""
        return self.heard_s if self.ended else self.heard_s + OVER_S

    def reports(self, peer: str) -> bool:
        """Whether the session reported this peer."""
        return self.peers is None or peer in self.peers


class Alarm(msgspec.Struct):
    """What people should know, in words, and when it happened last, by Kafka's time."""

    at_s: float
    text: str


class Sessions(msgspec.Struct):
    """What the routes agent must remember besides the paths: its progress, BMP sessions and peers."""

    applied: int = -1
    first_flush: int = 1  # rows of flushes `first_flush` to `flush` may be ahead of `applied` (tables/rib.py)
    flush: int = 0
    routers: dict[str, str] = msgspec.field(default_factory=dict)  # BMP session -> router: rows before `sessions`
    peers: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)  # router -> peers that are up, with their AS
    awaited: dict[str, Awaited] = msgspec.field(default_factory=dict)  # by session
    records: int = 0
    ignored: dict[str, int] = msgspec.field(default_factory=dict)
    missing: int = 0  # numbers that no record of a collector had
    steps_back: int = 0  # records with a number below that of the one before
    unused: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)  # router -> routes of RIBs of no use
    sessions: dict[str, BmpSession] = msgspec.field(default_factory=dict)
    renamed: dict[str, str] = msgspec.field(default_factory=dict)  # router's old name -> new one
    at_s: float = 0.0  # the stream's time: Kafka's, as far as the collectors' clocks agree
    writers: dict[str, WriterClock] = msgspec.field(default_factory=dict)
    heard: dict[str, float] = msgspec.field(default_factory=dict)  # router -> Kafka time of its last record
    statistics: dict[str, float] = msgspec.field(default_factory=dict)  # router -> that of its last statistics report
    alarms: dict[str, dict[str, Alarm]] = msgspec.field(default_factory=dict)  # by kind and place
