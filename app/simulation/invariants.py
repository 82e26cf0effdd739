"""What must hold whatever happens, I1 to I10 (docs/simulation.md): checked at every record, announcement and second."""

from collections.abc import Iterator

import msgspec

from app.bgp.speaker import InjectedRoute
from app.config.settings import Settings
from app.contract import topics
from app.contract.schemas import Decision, Feed, LinkUtilization
from app.simulation import telemetry as telemetries
from app.simulation.actuator import SimulatedActuator
from app.simulation.broker import Broker
from app.simulation.collectors import Collectors
from app.simulation.loop import Process, Violation
from app.simulation.network import SimulatedNetwork
from app.simulation.oracle import BmpHistory
from app.stream.consumer import Record
from app.te.traffic.windows import Progress
from tables.congestion import CycleRow
from tables.link_windows import LinkWindowRow, parts_of
from tables.store import HEADER, decoder_of

LASTING_S = 6.0  # until when what is lost must be off a speaker that can be reached
EPOCH_S = 30.0
DUMP_S = 12.0
TOLD_S = 2.0

_window = decoder_of(LinkWindowRow)
_progress = msgspec.msgpack.Decoder(Progress)
_cycle = msgspec.msgpack.Decoder(CycleRow)
_decision = msgspec.json.Decoder(Decision)
_utilization = msgspec.json.Decoder(LinkUtilization)


class _Applied(msgspec.Struct):
    applied: int


_applied = msgspec.msgpack.Decoder(_Applied)


def demand(holds: bool, what: str) -> None:
    """Violation unless it holds."""
    if not holds:
        raise Violation(what)


class Checks:
    """Watches one run from outside."""

    def __init__(self, broker: Broker, network: SimulatedNetwork, collectors: Collectors, settings: Settings) -> None:
        self.broker, self.network, self.collectors, self.settings = broker, network, collectors, settings
        self.world, self.pop = network.world, network.pop
        self.bmp = BmpHistory(self.pop)
        self.rows: dict[tuple[int, str], LinkWindowRow] = {}  # the last of each that landed, also of deleted ones
        self.deleted: set[str] = set()
        self.letters: set[tuple[str, int, str]] = set()
        self._flows = topics.FLOWS.for_pop(self.pop.name)
        self._applied: dict[str, int] = {}
        self._number = (-1, -1)
        self._decider: Process | None = None
        self._before: set[tuple[str, str]] = set()  # (prefix, link) of the overrides that a decision may keep
        self._earlier: set[tuple[str, str]] = set()  # of all decisions: a process may take up from any of them
        self._told: dict[tuple[str, float], LinkUtilization] = {}
        self._feeds: dict[tuple[Process | None, str, float], Feed] = {}
        self._held_s: dict[tuple[str, str, str], float] = {}
        self._since: dict[str, float] = {}
        broker.on_landed, broker.on_append = self.world.watched(self.landed), self.world.watched(self.appended)
        for record in broker.topics.get(topics.BMP.for_pop(self.pop.name), ()):
            self.bmp.take(record)

    # the state

    def landed(self, table: str, key: str, row: bytes | None, owned: bool) -> None:
        """A changelog record counts; what a zombie wrote into a row of sums does not get so far."""
        if table == f"{telemetries.GROUP}-link_windows":
            self._window_landed(key, row, owned)
        elif key.endswith("|cycle") and row is not None and owned:  # each flush of the successor writes it again
            cycle = _cycle.decode(row[HEADER.size :])
            self._grows(f"{table} {key}", cycle.epoch)
        elif key.endswith("|progress") and row is not None:
            self._grows(f"{table} {key}", _applied.decode(row[HEADER.size :]).applied)

    def _window_landed(self, key: str, row: bytes | None, owned: bool) -> None:
        _, start_s, link = parts_of(key)
        if row is None:
            passed = self.broker.committed[telemetries.GROUP, self._flows]
            if key not in self.deleted and (start_s, link) in self.rows:
                applied = self.rows[start_s, link].sums.applied
                demand(passed > applied, f"I2 row {key} of offset {applied} is deleted, the commit is at {passed}")
            self.deleted.add(key)
            return
        demand(not owned or key not in self.deleted, f"I1 row {key} was deleted and is made again")
        now = _window.decode(row[HEADER.size :])
        size, sent = bytes_of(now), self.collectors.ledger.windows[start_s, link]
        demand(size <= sent, f"I1 row {key} has {size} bytes, {sent} were sent")
        self._grows(f"row {key}", now.sums.applied)
        self.rows[start_s, link] = now

    def _grows(self, what: str, value: int) -> None:
        demand(value >= (before := self._applied.get(what, -1)), f"I2 {what} falls from {before} to {value}")
        self._applied[what] = value

    # what is published

    def appended(self, topic: str, record: Record, sender: Process | None) -> None:
        if topic == topics.BMP.for_pop(self.pop.name):
            self.bmp.take(record)
        elif topic == topics.LINK_UTILIZATION.name:
            self._load_told(_utilization.decode(record.value), sender)
        elif topic == topics.DECISIONS.for_pop(self.pop.name) and not (sender is not None and sender.ghost):
            self._decided(_decision.decode(record.value), sender)
        elif topic == topics.DEAD_LETTERS.name:
            letter = msgspec.json.decode(record.value)
            self.letters.add((letter["topic"], letter["offset"], letter["reason"]))

    def _load_told(self, load: LinkUtilization, sender: Process | None) -> None:
        key = load.link, load.window_start.timestamp()
        before = self._told.get(key, load)
        told, again = before.sampled_bytes, load.sampled_bytes
        demand(told == again, f"I1 {load.id} is told with {told} bytes, then with {again}")
        self._told[key] = load
        self._feeds[sender, *key] = load.feed

    def _decided(self, decision: Decision, sender: Process | None) -> None:
        number, before = (decision.epoch, decision.seq), self._number
        self.world.note(f"decision {number[0]}.{number[1]}: {len(decision.overrides)} overrides")
        demand(number > before, f"I6 decision {number} comes after {before}")
        self._number = number
        most = self.pop.budgets.max_overrides
        demand(len(decision.overrides) <= most, f"I5 {len(decision.overrides)} overrides are decided, {most} may be")
        wanted = {(override.prefix, override.exit.link) for override in decision.overrides}
        held = self._before if sender is self._decider else self._earlier
        new = [override for override in decision.overrides if (override.prefix, override.exit.link) not in held]
        # Nothing of it was seen where its share is 0: what another router sends there while it is silent, nobody knows.
        links = {link for one in new for link in (one.exit.link, *(at.link for at in one.natural if at.share))}
        start_s = decision.window_start.timestamp()
        self.world.after(TOLD_S, lambda: self._trusted(sender, links, start_s))
        self._decider, self._before = sender, wanted
        self._earlier |= wanted

    def _trusted(self, sender: Process | None, links: set[str], start_s: float) -> None:
        """The loads of a decision's window have been told by now, unless its process died between the two."""
        for link in sorted(links):
            feed = self._feeds.get((sender, link, start_s), "untold")
            demand(feed not in ("untrusted", "silent"), f"I7 a move from or to {link}, which is {feed}")

    # what is announced

    def announced(self, actuator: SimulatedActuator, router: str, route: InjectedRoute, offset: int) -> None:
        """A speaker is told, by a call that began when BMP had been read to `offset`."""
        prefix, hop, now_s = route.prefix, route.next_hop, self.world.now_s
        if hop not in self.pop.router_by_loopback:
            alive = self.bmp.was_alive(router, prefix, hop, offset)
            demand(alive, f"I3 {router} is given {prefix} by {hop}, which was in no Adj-RIB-In at offset {offset}")
        held = {held for speaker in self.network.speakers.values() for held in speaker.held} | {prefix}
        most = self.pop.budgets.max_overrides
        demand(len(held) <= most, f"I5 {len(held)} prefixes are overridden, {most} may be")
        last_s = self._held_s.get((router, prefix, hop), 0.0)
        if now_s - last_s > self.settings.pacing.lease_s:
            until_s = actuator.add_until_s.get(prefix, 0.0) + abs(actuator.process.clock.skew_s) + 1
            demand(
                now_s <= until_s, f"I7 {prefix} is added on {router} {now_s - until_s:.1f} s after its decision's time"
            )
        self._held_s[router, prefix, hop] = now_s

    # as time goes by

    def tick(self, actuator: SimulatedActuator | None) -> None:
        """Once a second: what may be so for a moment and must not last."""
        for router, speaker in self.network.speakers.items():
            for route in speaker.held.values():
                self._held_s[router, route.prefix, route.next_hop] = self.world.now_s
        now = dict(self._wrong(actuator)) if actuator is not None else {}
        self._since = {what: self._since.get(what, self.world.now_s) for what in now}
        for what, since_s in self._since.items():
            lasted_s = self.world.now_s - since_s
            demand(lasted_s <= now[what], f"{what}, for {lasted_s:.0f} s")

    def _wrong(self, actuator: SimulatedActuator) -> Iterator[tuple[str, float]]:
        """(what is wrong, how long it may be) where the actuator could have known and acted."""
        if not (actuator.process.alive and not actuator.process.frozen and self.broker.up and actuator.ready()):
            return
        now_s, entries = actuator.process.clock.monotonic_s(), actuator.reconciler.overrides.entries
        for router, speaker in self.network.speakers.items():
            settled = now_s - self.network.bmp_up_since_s[router] > DUMP_S and router not in self.network.bmp_down
            for route in speaker.held.values() if settled and not speaker.down else ():
                about, entry = f"{router} holds {route.prefix} by {route.next_hop}", entries.get(route.prefix)
                outside = route.next_hop not in self.pop.router_by_loopback
                if outside and not self.network.alive(router, route.prefix, route.next_hop):
                    yield f"I3 {about}, which no neighbour announces", LASTING_S
                if entry is None:
                    yield f"I5 {about} without a hold", LASTING_S
                elif entry.lease_until_s < now_s:
                    yield f"I5 {about} beyond its hold", LASTING_S
                elif entry.wanted and router in entry.routes and route.epoch != entry.routes[router].epoch:
                    yield f"I6 {about} of epoch {route.epoch}, not {entry.routes[router].epoch}", EPOCH_S


def bytes_of(row: LinkWindowRow) -> int:
    return row.sums.size_bytes + row.sums.unroutable_bytes
