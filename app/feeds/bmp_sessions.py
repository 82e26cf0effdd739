"""The BMP sessions of one PoP: which router each is of, whether it is live, and whether it has the whole table.

All sessions of a router make one table, and the last word counts: a router sends each of its collectors the same.
"""

from collections.abc import Iterator

import msgspec

from app.config.inventory import Pop
from app.feeds.bmp import BmpRecord
from app.feeds.bmp_identity import Identifier, Identity
from app.feeds.bmp_memory import OVER_S, Alarm, BmpSession, Sessions, Unread
from app.feeds.bmp_renames import kept, known_routers, take_over_names
from app.feeds.stale_paths import DUMP_WITHIN_S, StalePaths

SESSIONS_KEPT = 8  # of one router; those heard longest ago are forgotten first
IGNORED_KEPT = 64  # sessions whose records are ignored
ALARMS_KEPT = 20  # of one kind
WAITING_MAX, WAITING_SESSIONS_MAX = 10_000, 64  # records of sessions that have not said yet who they are
WAITING_S = 60.0
VOUCHES_AFTER_S = 5.0  # what was sent before another session began may be written after its first records
FIRST_WITHIN_SILENCES = 2.0
LATE_S = DUMP_WITHIN_S  # so much later an initiation message may come than records that were sent after it
UNKNOWN = "unknown-router"


class WaitingRecords(msgspec.Struct):
    """Records of a session that has not said yet who it is."""

    since_s: float
    records: list[BmpRecord]


class SessionTracker:
    """Follows the BMP sessions of one PoP; its memory is `sessions`, which a row keeps."""

    def __init__(self, pop: Pop, sessions: Sessions, stale: StalePaths) -> None:
        self._pop = pop
        self._memory = sessions
        self._stale = stale
        self._identifier = Identifier(pop)
        self._waiting: dict[str, WaitingRecords] = {}  # the one that waited longest first
        self._waiting_records = 0
        for session, router in sessions.routers.items():  # a row that was written before sessions had times
            sessions.sessions.setdefault(session, BmpSession(router, sessions.at_s, whole=True))
            sessions.heard.setdefault(router, sessions.at_s)
        sessions.routers = {}
        take_over_names(pop, self._identifier, sessions)
        self.known = known_routers(pop, self._identifier, sessions)  # whose sessions and paths these are
        self._forget_strangers()

    def reconfigure(self, pop: Pop) -> None:
        """Go on with another inventory of the same routers; sessions that are known stay whose they are."""
        self._pop, self._identifier = pop, Identifier(pop)

    def _forget_strangers(self) -> None:
        """Forget routers that are not in the inventory any more, or not under this name."""
        known, memory = self.known, self._memory
        of_known = ((key, kept(key, each, self._identifier, known)) for key, each in memory.sessions.items())
        memory.sessions = {key: session for key, session in of_known if session is not None}
        for key in [key for key, each in memory.awaited.items() if each.router not in known]:
            self._stale.drop(key)
        for by_router in (memory.peers, memory.heard, memory.statistics, memory.unused):
            for router in by_router.keys() - known:
                del by_router[router]

    @property
    def is_waiting(self) -> bool:
        """Whether any record waits for its session to say who it is."""
        return bool(self._waiting)

    def live(self, router: str, now_s: float) -> list[BmpSession]:
        """The sessions of a router that have not ended, and were heard within its `bmp_silence_s`."""
        return [session for _, session in self._live(router, now_s)]

    def _live(self, router: str, now_s: float) -> Iterator[tuple[str, BmpSession]]:
        since_s = now_s - self._pop.routers[router].bmp_silence_s
        for key, session in self._memory.sessions.items():
            if session.router == router and not session.ended and session.heard_s >= since_s:
                yield key, session

    def is_doubtful(self, router: str, now_s: float) -> bool:
        """Whether the paths of a router may be out of date at Kafka time `now_s`: no live session has its whole table.

        That is also so if none reports one of its peers any more. Ask with the time up to which the topic was read: of
        what is not read yet, nothing is known.
        """
        whole = self._whole(router, now_s)
        return not whole or any(not _is_reported(whole, peer) for peer in self._memory.peers.get(router, ()))

    def _whole(self, router: str, now_s: float) -> list[BmpSession]:
        return [session for session in self.live(router, now_s) if session.whole]

    def has(self, key: str, peer: str, at_s: float, due_s: float) -> tuple[list[str], bool]:
        """Which others surely have what session `key` has not reported of a peer until `due_s`; and may any have it?

        One has it that reports the peer, and was heard well after the other began: it would have told of a loss. One
        that was not heard since may have died before, and one that was not read to the end does not know of the paths.
        And who is asked must be heard itself after that time.
        """
        awaiting, session = self._memory.awaited[key], self._memory.sessions.get(key)
        is_its_own = session is not None and session.reports(peer)
        others = [
            (name, other)
            for name, other in self._live(awaiting.router, at_s)
            if name != key and other.reports(peer) and not self._stale.awaits_peer(name, peer)
            if not (other.unread and is_its_own)
        ]
        sure = [name for name, other in others if other.heard_s > awaiting.began_s + VOUCHES_AFTER_S]
        is_heard = session is not None and session.heard_s > due_s
        return sure, len(sure) < len(others) or not is_heard

    def orphans(self, router: str, at_s: float) -> list[str]:
        """The peers of a router that is heard whose every session has ended, long enough for a new one to report them.

        One that is not heard any more has ended OVER_S later.

        While none of its sessions is whole, nothing is known of any peer, and none is an orphan.
        """
        live = self.live(router, at_s)
        if not any(session.whole for session in live):
            return []
        began_s = max(session.began_s for session in live)
        ours = [session for session in self._memory.sessions.values() if session.router == router]
        return [
            peer
            for peer in self._memory.peers.get(router, ())
            if not _is_reported(live, peer)
            and at_s > max([began_s, *(each.over_s for each in ours if each.reports(peer))]) + self.first_s(router)
        ]

    def first_s(self, router: str) -> float:
        """How long a new session may take until it shows the first path of a peer: 60 s by default."""
        return FIRST_WITHIN_SILENCES * self._pop.routers[router].bmp_silence_s

    def reported(self, record: BmpRecord, peer: str, is_up: bool = True) -> None:
        """Note that the session of a record reported this peer; what sessions that ended say of it matters no more."""
        session = self._memory.sessions[record.session]
        if session.peers is None or is_up == (peer in session.peers):
            return
        if not is_up:
            session.peers.discard(peer)
            return
        session.peers.add(peer)
        for other in self._memory.sessions.values():
            over = other.ended or other.heard_s < session.heard_s - OVER_S
            if other.router == session.router and over and other.peers is not None:
                other.peers.discard(peer)

    def is_second(self, record: BmpRecord, peer: str) -> bool:
        """Whether a session reports a peer for the first time that another one of its router has reported."""
        session = self._memory.sessions[record.session]
        return not session.reports(peer) and any(
            other.router == session.router and other.reports(peer) for other in self._memory.sessions.values()
        )

    def is_torn(self, record: BmpRecord) -> None:
        """Note that what the session of a record said came in an order that leaves its table in doubt."""
        session = self._memory.sessions[record.session]
        session.whole, session.unread = False, session.unread or "order"

    def has_gap(self) -> None:
        """Note that records were removed before anybody read them: any session may have said anything in them.

        What the sessions await may be among it, so they await nothing any more.
        """
        for key, session in self._memory.sessions.items():
            if session.router is not None and not session.ended:
                session.whole, session.unread = False, session.unread or "gap"
                self._stale.drop(key)

    def is_unread(self, key: str) -> bool:
        """Whether something that this session said was not read, so that what did not come may have been said."""
        session = self._memory.sessions.get(key)
        return session is not None and session.unread in ("beginning", "gap")

    def is_whole(self, key: str) -> None:
        """Note that the Rib has all that the router reported in this session, if all of that was read."""
        if (session := self._memory.sessions.get(key)) is not None and not session.ended:
            session.whole = not session.unread

    def router_of(self, record: BmpRecord) -> str | None:
        """The router of a record's BMP session as far as is known; None if its records are ignored or wait."""
        session = self._memory.sessions.get(record.session)
        return session.router if session is not None else self._identifier.by_address(record.bmp_router)

    def hear_init(self, record: BmpRecord, at_s: float) -> tuple[str | None, list[BmpRecord]]:
        """Take an initiation message; return the router and the records that waited for it, by their numbers.

        In a session that has begun it is information only: RFC 7854, section 4.3.
        """
        key, identity = record.session, self._identifier.by_name(record.bmp_router, record.bmp_init_info_sysname or "")
        if identity.alarm is not None:
            self._alarm(identity.alarm, identity.where, identity.text, at_s)
        session = self._memory.sessions.get(key)
        if session is None or session.router != identity.router or session.ended:
            session = self._begin(record, identity, at_s)
        elif session.unread == "beginning" and record.seq <= session.first_seq and at_s <= session.began_s + LATE_S:
            session.unread, session.whole = "", key not in self._memory.awaited
        session.sysname = record.bmp_init_info_sysname or session.sysname
        waited = sorted(self._take_waiting(key), key=lambda each: each.seq)
        if identity.router is None:
            self.ignore(identity.ignored, 1 + len(waited))
            return None, []
        self._hear(session, record, at_s)
        return identity.router, waited

    def hear(self, record: BmpRecord, at_s: float) -> str | None:
        """Take any other record; return its router, None if it is ignored or has to wait for an initiation message."""
        if (session := self._memory.sessions.get(record.session)) is None:
            router = self._identifier.by_address(record.bmp_router)
            if router is None and self._identifier.is_known(record.bmp_router):
                self._wait(record, at_s)
                return None
            session = self._begin(record, Identity(router, "" if router else UNKNOWN), at_s, "beginning")
            if router is None:
                self._alarm_unnamed(record, at_s)
        if session.router is not None and session.ended and record.seq > session.seq:
            self._wait(record, at_s)  # of a new session from the same port, whose initiation message comes late
            return None
        if session.router is None or session.ended:
            session.heard_s = at_s
            self.ignore(session.ignored or "ended-session")
            return None
        self._hear(session, record, at_s)
        return session.router

    def _hear(self, session: BmpSession, record: BmpRecord, at_s: float) -> None:
        """Note that a session of a router was heard. If it is whole, it vouches for peers that a newer one lacks."""
        router, memory = session.router, self._memory
        assert router is not None, "records of other sessions are ignored"
        session.seq = max(session.seq, record.seq)
        session.heard_s = max(session.heard_s, at_s)
        memory.heard[router] = max(memory.heard.get(router, 0.0), at_s)
        if record.bmp_msg_type == "stats":
            memory.statistics[router] = at_s
        if session.whole and memory.awaited:
            self._vouch(session, record.session, at_s)

    def _vouch(self, session: BmpSession, key: str, at_s: float) -> None:
        """A whole session has the peers that newer ones have not reported: those may be of other instances."""
        for other, awaited in self._memory.awaited.items():
            if other != key and awaited.router == session.router and at_s > awaited.began_s + VOUCHES_AFTER_S:
                for peer in [peer for peer in awaited.peers if session.reports(peer)]:
                    self._stale.peer_excused(other, peer)

    def end_all(self, writer: str) -> None:
        """End all sessions of a collector, whose process began again."""
        for key, session in self._memory.sessions.items():
            if key.startswith(f"{writer}|"):
                session.ended, session.seq = True, 0
                self._stale.drop(key)

    def end(self, key: str, seq: int = 0) -> None:
        """End a session by its collector's record `seq`.

        What it reported stays: its router decides whether that is still so when it comes back.
        """
        if waited := self._take_waiting(key):
            self.ignore(UNKNOWN, len(waited))
        if (session := self._memory.sessions.get(key)) is not None:
            session.ended, session.seq = True, max(session.seq, seq)
            self._stale.drop(key)

    def _begin(self, record: BmpRecord, identity: Identity, at_s: float, unread: Unread = "") -> BmpSession:
        router, key, memory = identity.router, record.session, self._memory
        session = BmpSession(router, at_s, at_s, record.seq, ignored=identity.ignored, peers=set(), unread=unread)
        session.first_seq = record.seq
        memory.sessions.pop(key, None)
        if router is not None:
            self._look_at_others(router, record, at_s)
            self._stale.began(router, key, memory.applied, at_s, self.first_s(router))
        memory.sessions[key] = session
        self._forget_sessions(router)
        return session

    def _look_at_others(self, router: str, record: BmpRecord, at_s: float) -> None:
        """Alarm if the same collector has another live session of this router.

        If its numbers go back, that collector began again, and the other session ended with its process.
        """
        for key, other in self._live(router, at_s):
            if key.startswith(f"{record.writer_id}|") and record.seq >= other.seq:
                text = (
                    f"A second BMP session says that it is {router}, from {record.bmp_router} port"
                    f" {record.bmp_router_port}, while the first ({key.partition('|')[2].replace('|', ' port ')}) has"
                    " not ended. Both are heard, and the first keeps its table. If the router did not just connect"
                    " again, find out who else sends from that address."
                )
                self._alarm("bmp-name-taken", router, text, at_s)

    def _forget_sessions(self, router: str | None) -> None:
        """Forget sessions of a router, or ignored ones, that were heard longest ago, if there are many."""
        keys = [key for key, session in self._memory.sessions.items() if session.router == router]
        keys.sort(key=lambda key: (not self._memory.sessions[key].ended, self._memory.sessions[key].heard_s))
        for key in keys[: -SESSIONS_KEPT if router is not None else -IGNORED_KEPT]:
            del self._memory.sessions[key]
            self._stale.drop(key)

    # records that wait

    def _wait(self, record: BmpRecord, at_s: float) -> None:
        """Keep a record until its session says who it is: collectors may write their first records out of order."""
        waiting = self._waiting.setdefault(record.session, WaitingRecords(at_s, []))
        waiting.records.append(record)
        self._waiting_records += 1
        if self._waiting_records > WAITING_MAX or len(self._waiting) > WAITING_SESSIONS_MAX:
            self._give_up(max(self._waiting, key=lambda key: len(self._waiting[key].records)), at_s)

    def give_up_waiting(self, at_s: float) -> None:
        """Ignore the sessions that have not said in time who they are."""
        while self._waiting and at_s > self._waiting[key := next(iter(self._waiting))].since_s + WAITING_S:
            self._give_up(key, at_s)

    def _give_up(self, key: str, at_s: float) -> None:
        first, *others = self._take_waiting(key)
        self.ignore(UNKNOWN, 1 + len(others))
        self._begin(first, Identity(None, UNKNOWN), at_s)
        self._alarm_unnamed(first, at_s)

    def _take_waiting(self, key: str) -> list[BmpRecord]:
        """The records of a session that waited, which wait no longer."""
        waiting = self._waiting.pop(key, None)
        records = waiting.records if waiting is not None else []
        self._waiting_records -= len(records)
        return records

    # what people should know

    def _alarm_unnamed(self, first: BmpRecord, at_s: float) -> None:
        text = (
            f"A BMP session from {first.bmp_router} has not said who it is (no initiation message in the topic), and no"
            " router of the inventory has that address alone. Its records are ignored; let it connect again, or set"
            " bmp_address."
        )
        self._alarm("bmp-unnamed", first.bmp_router, text, at_s)

    def _alarm(self, kind: str, where: str, text: str, at_s: float) -> None:
        alarms = self._memory.alarms.setdefault(kind, {})
        alarms[where] = Alarm(at_s, text)
        if len(alarms) > ALARMS_KEPT:
            del alarms[min(alarms, key=lambda place: alarms[place].at_s)]

    def ignore(self, reason: str, records: int = 1) -> None:
        """Count records that are not used, by the reason."""
        self._memory.ignored[reason] = self._memory.ignored.get(reason, 0) + records


def _is_reported(sessions: list[BmpSession], peer: str) -> bool:
    return any(session.reports(peer) for session in sessions)
