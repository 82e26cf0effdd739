"""The invariants I1 to I14 (docs/simulation.md), checked at every record, every announcement and every second."""

from collections import defaultdict
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from app.actuation.damping import FIRST_S
from app.actuation.ownership import SETTLE_S
from app.bgp.speaker import InjectedRoute
from app.config.settings import Settings
from app.contract import topics
from app.contract.decoding import Read, Rejected, reader_of
from app.contract.schemas import DeadLetter, Decision, Feed, LinkUtilization
from app.feeds.bmp_sessions import FIRST_WITHIN_SILENCES
from app.feeds.counters import InterfaceCounters
from app.feeds.counters import decode as decode_counters
from app.simulation import actuator as actuators
from app.simulation import telemetry as telemetries
from app.simulation.actuator import SimulatedActuator
from app.simulation.broker import SLOW_S, Broker
from app.simulation.collectors import Collectors
from app.simulation.loop import Process, Violation
from app.simulation.network import SILENCE_S, SimulatedNetwork
from app.simulation.oracle import BmpHistory
from app.stream.consumer import Record
from app.te.traffic.counters import UNREAD_SHARE
from app.te.traffic.port import CounterSample
from app.te.traffic.windows import Progress
from tables.congestion import CycleRow
from tables.link_windows import LinkWindowRow, parts_of
from tables.store import HEADER, decoder_of

T = TypeVar("T")
LASTING_S = 6.0  # how soon a lost path's routes must be gone from a reachable speaker
# Until paths are removed that a new BMP session did not refresh, on its router's next record.
DUMP_S = FIRST_WITHIN_SILENCES * SILENCE_S + 14.0
RECOVERED_S = 6.0  # until an actuator has read where it stands, and its doubt begins again
NOTICED_S = 4.0  # until the actuator has noticed that a router is silent
PUBLISHED_S = 2.0
LINK_WINDOWS = f"{telemetries.GROUP}-link_windows"

_window = decoder_of(LinkWindowRow)
_progress = msgspec.msgpack.Decoder(Progress)
_cycle = msgspec.msgpack.Decoder(CycleRow)
_decision: Read[Decision] = reader_of(Decision)
_utilization: Read[LinkUtilization] = reader_of(LinkUtilization)
_letter: Read[DeadLetter] = reader_of(DeadLetter)


class _Applied(msgspec.Struct):
    applied: int


class _WindowRecord(msgspec.Struct):
    """What tells a record of a window from others: its id, or the number of a decision."""

    id: str | None = None
    epoch: int = 0
    seq: int = 0


_applied = msgspec.msgpack.Decoder(_Applied)
_window_record: Read[_WindowRecord] = reader_of(_WindowRecord)


def demand(holds: bool, message: str) -> None:
    """Violation with this message unless `holds`. The message begins with the number of the invariant."""
    if not holds:
        raise Violation(message)


def readable(read: Read[T], published: bytes) -> T:
    """What a record says; Violation if the readers of its topic could not read it."""
    record = read(published)
    if isinstance(record, Rejected):
        raise Violation(f"I11 {published[:200]!r} cannot be read: {record.reason}")
    return record


def name_of(published: bytes) -> str:
    """What tells a record of a window from all others of its topic: its id, or the number of a decision."""
    record = readable(_window_record, published)
    return f"{record.epoch}.{record.seq}" if record.id is None else record.id


class Checks:
    """Watches one run from outside and raises Violation when an invariant does not hold."""

    def __init__(self, broker: Broker, network: SimulatedNetwork, collectors: Collectors, settings: Settings) -> None:
        self.broker, self.network, self.collectors, self.settings = broker, network, collectors, settings
        self.world, self.pop = network.world, network.pop
        self.bmp = BmpHistory(self.pop)
        self.rows: dict[tuple[int, str], LinkWindowRow] = {}  # the newest row that landed, also if deleted since
        self.deleted: set[str] = set()
        self.letters: set[tuple[str, int, int]] = set()
        self._flows = topics.FLOWS.for_pop(self.pop.name)
        self._applied: dict[str, int] = {}
        self._number = (-1, -1)
        self._decider: Process | None = None
        self._before: set[tuple[str, str]] = set()  # (prefix, link) of the overrides that the next decision may keep
        self._earlier: set[tuple[str, str]] = (
            set()
        )  # those of all decisions: a new process may continue from any of them
        self._published: dict[tuple[str, float], LinkUtilization] = {}
        self._final: dict[tuple[str, str], bytes] = {}  # records of windows, by topic and id
        decisions = topics.DECISIONS.for_pop(self.pop.name)
        self._final_topics = {topic.name for topic in (topics.LINK_UTILIZATION, topics.PREFIX_TRAFFIC, topics.SOURCES)}
        self._final_topics.add(decisions)
        self.was_refused = False  # a record was, and those after it were taken
        self.has_other_links = False  # telemetry had another inventory at some time
        self.links = set(self.pop.links)  # of the inventory that telemetry has now
        self._read: dict[str, list[tuple[float, CounterSample]]] = defaultdict(list)  # by link, with when it came
        self._feeds: dict[tuple[Process | None, str, float], Feed] = {}
        self._held_s: dict[tuple[str, str, str], float] = {}
        self._since: dict[str, float] = {}
        self._slow_until_s = 0.0
        self._hold_until_s: dict[str, float] = {}  # by prefix, as the last decision says
        broker.on_landed, broker.on_append = self.world.watched(self.landed), self.world.watched(self.appended)
        for record in broker.topics.get(topics.BMP.for_pop(self.pop.name), ()):
            self.bmp.take(record)

    # the state

    def landed(self, table: str, key: str, row: bytes | None, owned: bool) -> None:
        """Check a changelog record that counts. A zombie's record in a row of sums is ignored before it gets here."""
        if table == LINK_WINDOWS:
            self._window_landed(key, row, owned)
        elif key.endswith("|cycle") and row is not None and owned:  # the successor writes it again at each flush
            cycle = _cycle.decode(row[HEADER.size :])
            self._grows(f"{table} {key}", cycle.epoch)
        elif key.endswith("|progress") and row is not None:
            self._grows(f"{table} {key}", _applied.decode(row[HEADER.size :]).applied)

    def _window_landed(self, key: str, row: bytes | None, owned: bool) -> None:
        if key.startswith("|"):
            return  # how far the rows are
        _, start_s, link = parts_of(key)
        if not owned and link not in self.links:
            return  # the next start passes over it: its records were counted by the inventory of now
        if row is None:
            passed = self.broker.committed[telemetries.GROUP, self._flows]
            if key not in self.deleted and (start_s, link) in self.rows:
                applied = self.rows[start_s, link].sums.applied
                demand(passed > applied, f"I2 row {key} of offset {applied} is deleted, but the commit is at {passed}")
            self.deleted.add(key)
            return
        demand(not owned or key not in self.deleted, f"I1 row {key} was deleted and is written again")
        window = _window.decode(row[HEADER.size :])
        size, sent = bytes_of(window), self.collectors.ledger.sent(start_s, window.length_s, link)
        demand(size <= sent, f"I1 row {key} has {size} bytes, but {sent} were sent")
        self._grows(f"{LINK_WINDOWS} {key}", window.sums.applied)
        self.rows[start_s, link] = window

    def lost_tail(self, table: str, keys: set[bytes]) -> None:
        """The changelog of a table has lost its newest records, of these keys: their rows may be made again."""
        self._applied = {name: value for name, value in self._applied.items() if not name.startswith(f"{table} ")}
        if table == f"{telemetries.GROUP}-congestion":  # with it what the last windows were decided and counted by
            self._published.clear()
            decisions = topics.DECISIONS.for_pop(self.pop.name)
            self._final = {name: record for name, record in self._final.items() if name[0] == decisions}
            left = self.broker.changelog(table).rows
            if not any(key.endswith(b"|cycle") or b"|closing|" in key for key in left):
                self._number = (-1, -1)  # nothing is left that knows it, so it may come again
                self._final = {}
        if table != LINK_WINDOWS:
            return
        left = self.broker.changelog(table).rows
        for key in (key for key in keys if not key.startswith(b"|")):
            _, start_s, link = parts_of(key.decode())
            self.deleted.discard(key.decode())
            self.rows.pop((start_s, link), None)
            if (row := left.get(key)) is not None:
                self.rows[start_s, link] = _window.decode(row[HEADER.size :])

    def _grows(self, name: str, value: int) -> None:
        demand(value >= (before := self._applied.get(name, -1)), f"I2 {name} falls from {before} to {value}")
        self._applied[name] = value

    # what is published

    def appended(self, topic: str, record: Record, sender: Process | None) -> None:
        """Check a record that was appended to a topic; `sender` is None for a record from outside."""
        if topic in self._final_topics and not (sender is not None and sender.ghost) and self._is_repeat(topic, record):
            return
        if topic == topics.BMP.for_pop(self.pop.name):
            self.bmp.take(record)
        elif topic == topics.COUNTERS.for_pop(self.pop.name):
            reading = decode_counters(record.value)
            assert isinstance(reading, InterfaceCounters), reading
            link = self.pop.link_by_interface[self.pop.router_by_agent[reading.exporter], reading.ifindex]
            self._read[link].append((record.timestamp_s, reading.sample))
        elif topic == topics.LINK_UTILIZATION.name:
            self._load_published(readable(_utilization, record.value), sender)
        elif topic == topics.DECISIONS.for_pop(self.pop.name) and not (sender is not None and sender.ghost):
            self._decided(readable(_decision, record.value), sender)
        elif topic == topics.DEAD_LETTERS.name:
            letter = readable(_letter, record.value)
            self.letters.add((letter.topic, letter.offset, letter.index))

    def _is_repeat(self, topic: str, record: Record) -> bool:
        """Whether a record of a window was published before; it may come again, but never with another content."""
        name = name_of(record.value)
        before = self._final.setdefault((topic, name), record.value)
        demand(before == record.value, f"I13 {topic} {name} is published again with another content")
        return before is not record.value

    def _load_published(self, load: LinkUtilization, sender: Process | None) -> None:
        key = load.link, load.window_start.timestamp()
        before = self._published.get(key, load)
        first, repeated = before.sampled_bytes, load.sampled_bytes
        demand(first == repeated, f"I1 {load.id} is published with {first} bytes, then with {repeated}")
        first, repeated = before.window_s, load.window_s
        demand(first == repeated, f"I1 {load.id} is published with a window of {first} s, then of {repeated}")
        self._published[key] = load
        if load.received_bps is None and not self.has_other_links:  # counters alone say what is received
            demand(not self._was_read(load), f"I14 {load.id} is published without its counters, which were read")
        self._feeds[sender, *key] = load.feed

    def _was_read(self, load: LinkUtilization) -> bool:
        """Whether readings of the whole window had come, of counters that moved: one that stands still may be lazy."""
        start_s = load.window_start.timestamp()
        end_s = start_s + load.window_s
        known = [one for came_s, one in self._read[load.link] if came_s < end_s + self.settings.windows.grace_s]
        if len(known) < 2 or known[-2].out_octets == known[-1].out_octets:
            return False
        return known[0].at_s <= start_s and end_s - known[-1].at_s < UNREAD_SHARE * load.window_s

    def _decided(self, decision: Decision, sender: Process | None) -> None:
        number, before = (decision.epoch, decision.seq), self._number
        self.world.note(f"decision {number[0]}.{number[1]}: {len(decision.overrides)} overrides")
        if self.was_refused and number < before:
            return  # it comes late, and nobody follows it
        demand(number > before, f"I6 decision {number} comes after {before}")
        self._number = number
        most = self.pop.budgets.max_overrides
        demand(
            len(decision.overrides) <= most,
            f"I5 {len(decision.overrides)} overrides are decided, but only {most} are allowed",
        )
        wanted = {(override.prefix, override.exit.link) for override in decision.overrides}
        self._hold_until_s |= {override.prefix: decision.hold_until.timestamp() for override in decision.overrides}
        held = self._before if sender is self._decider else self._earlier
        new = [override for override in decision.overrides if (override.prefix, override.exit.link) not in held]
        # Natural links with share 0 do not count: they were not seen to carry the prefix, and a silent link might.
        links = {
            link
            for override in new
            for link in (override.exit.link, *(natural.link for natural in override.natural if natural.share))
        }
        start_s = decision.window_start.timestamp()
        self.world.after(PUBLISHED_S, lambda: self._trusted(sender, links, start_s))
        self._decider, self._before = sender, wanted
        self._earlier |= wanted

    def _trusted(self, sender: Process | None, links: set[str], start_s: float) -> None:
        """Check the feeds of these links. The window's loads are published by now, unless the process has died."""
        for link in sorted(links):
            feed = self._feeds.get((sender, link, start_s), "unpublished")
            demand(feed not in ("untrusted", "silent"), f"I7 a move from or to {link}, which is {feed}")

    # what is announced

    def announced(self, actuator: SimulatedActuator, router: str, route: InjectedRoute, offset: int) -> None:
        """Check a route that is announced to a speaker by a call that began when BMP had been read up to `offset`."""
        prefix, hop, now_s = route.prefix, route.next_hop, self.world.now_s
        if hop not in self.pop.router_by_loopback:
            alive = self.bmp.was_alive(router, prefix, hop, offset)
            demand(alive, f"I3 {router} gets {prefix} via {hop}, which was in no Adj-RIB-In at offset {offset}")
            # A router that is sent to the exit may be sent there again at once, for another path of the exit.
            lost_s_ago = now_s - actuator.lost_s.get((router, prefix, hop), 0.0)
            back = f"{prefix} is back on {router} {lost_s_ago:.1f} s after its path was lost"
            demand(lost_s_ago >= FIRST_S, f"I12 {back}")
        held_until_s = self._hold_until_s.get(prefix, 0.0)
        demand(
            route.lease_end_s <= held_until_s + 1,
            f"I5 the lease of {prefix} on {router} ends {route.lease_end_s - held_until_s:.0f} s after its decision's",
        )
        overridden = {held for speaker in self.network.speakers.values() for held in speaker.held} | {prefix}
        most = self.pop.budgets.max_overrides
        demand(len(overridden) <= most, f"I5 {len(overridden)} prefixes are overridden, but only {most} are allowed")
        last_s = self._held_s.get((router, prefix, hop), 0.0)
        if now_s - last_s > self.settings.pacing.lease_s:
            silent_s = now_s - self.network.said_s[router]
            noticed_s = NOTICED_S + self._late_s()
            demand(
                hop in self.pop.router_by_loopback or silent_s <= SILENCE_S + noticed_s,
                f"I3 {prefix} is moved to {router}, of which BMP said nothing for {silent_s:.0f} s",
            )
            until_s = actuator.add_until_s.get(prefix, 0.0) + abs(actuator.process.clock.skew_s) + 1
            demand(
                now_s <= until_s, f"I7 {prefix} is added on {router} {now_s - until_s:.1f} s after its decision expired"
            )
        self._held_s[router, prefix, hop] = now_s

    def wrote(self, actuator: SimulatedActuator, router: str) -> None:
        """Check that a speaker is changed only by its owner, and by the one before until the new one may write."""
        owner, now_s = self.network.owner(router), self.world.now_s
        mine = owner in (None, actuator.owner) or now_s - self.network.owned_s[router] <= SETTLE_S
        demand(mine, f"I6 {actuator.owner} changes {router}, which belongs to {owner}")

    # as time goes by

    def tick(self, actuator: SimulatedActuator | None) -> None:
        """Check once a second what may be wrong for a moment but must not last."""
        if self.broker.slow_s:
            self._slow_until_s = self.world.now_s + self.broker.slow_s + LASTING_S
        for router, speaker in self.network.speakers.items():
            for route in speaker.held.values():
                self._held_s[router, route.prefix, route.next_hop] = self.world.now_s
        allowed_s = dict(self._wrong(actuator)) if actuator is not None else {}
        self._since = {problem: self._since.get(problem, self.world.now_s) for problem in allowed_s}
        for problem, since_s in self._since.items():
            lasted_s = self.world.now_s - since_s
            demand(lasted_s <= allowed_s[problem], f"{problem}, for {lasted_s:.0f} s")

    def _wrong(self, actuator: SimulatedActuator) -> Iterator[tuple[str, float]]:
        """(problem, seconds it may last) for every problem that the actuator could know about and fix."""
        if not actuator.process.alive or actuator.process.frozen:
            return
        is_reading = self.broker.up and actuator.ready()
        for router, speaker in self.network.speakers.items():
            if speaker.down or self.network.owner(router) != actuator.owner:
                continue
            if is_reading:
                yield from self._doubted(actuator, router)
            for route in speaker.held.values():
                yield from self._leads_nowhere(actuator, router, route, is_reading)
                if is_reading and self._has_settled(actuator, router):
                    yield from self._outlives(actuator, router, route)

    def _doubted(self, actuator: SimulatedActuator, router: str) -> Iterator[tuple[str, float]]:
        started_s_ago, lease_s = self.world.now_s - actuator.started_s, actuators.TIMING.doubt_lease_s
        silent_s = self.world.now_s - self.network.said_s[router]
        for route in self.network.speakers[router].held.values():
            outside = route.next_hop not in self.pop.router_by_loopback
            if outside and silent_s > SILENCE_S + lease_s and started_s_ago > lease_s + RECOVERED_S:
                yield f"I3 {router} has {route.prefix} via {route.next_hop}, but its BMP is silent", LASTING_S

    def _has_settled(self, actuator: SimulatedActuator, router: str) -> bool:
        """Whether the actuator has had the time to read the whole table of this router's BMP session."""
        age_s = actuator.process.clock.monotonic_s() - self.network.bmp_up_since_s[router]
        return age_s > DUMP_S and router not in self.network.bmp_down

    def _leads_nowhere(
        self, actuator: SimulatedActuator, router: str, route: InjectedRoute, is_reading: bool
    ) -> Iterator[tuple[str, float]]:
        """A lost path: BMP tells of it, or the paths that the router sends to its speaker, also without a broker."""
        by_bmp = is_reading and self._has_settled(actuator, router)
        outside = route.next_hop not in self.pop.router_by_loopback
        is_told = outside and (by_bmp or self.network.has_add_path)
        if is_told and not self.network.alive(router, route.prefix, route.next_hop):
            late_s = 0.0 if self.network.has_add_path else self._late_s()
            yield (
                f"I3 {router} has {route.prefix} via {route.next_hop}, which no neighbour announces",
                LASTING_S + late_s,
            )

    def _late_s(self) -> float:
        """How long a slow broker may keep back what BMP tells."""
        return SLOW_S if self.world.now_s < self._slow_until_s else 0.0

    def _outlives(self, actuator: SimulatedActuator, router: str, route: InjectedRoute) -> Iterator[tuple[str, float]]:
        about = f"{router} has {route.prefix} via {route.next_hop}"
        entry, clock = actuator.reconciler.overrides.entries.get(route.prefix), actuator.process.clock
        if entry is None:
            yield f"I5 {about} without a lease", LASTING_S
        elif entry.lease_until_s < clock.monotonic_s():
            yield f"I5 {about} beyond its lease", LASTING_S + self._late_s()  # the exit goes last
        elif route.lease_end_s < clock.now_s():
            yield f"I5 {about} beyond the lease that it carries", LASTING_S


def bytes_of(row: LinkWindowRow) -> int:
    """All bytes of a window row, with and without a route."""
    return row.sums.size_bytes + row.sums.unroutable_bytes
