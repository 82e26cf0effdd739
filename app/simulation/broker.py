"""The broker of a simulated run: plain logs, compacted changelogs and commits, all with realistic delays."""

from collections.abc import Callable
from typing import Any

from app.simulation.loop import Process, World
from app.stream.consumer import Record
from tables.store import goes_back

LANDING_S = (0.002, 0.06)
RETRY_S = 0.2
SLOW_S = 10.0  # the answers of a slow broker may take so long

OnLanded = Callable[
    [str, str, bytes | None, bool], None
]  # (table, key, row or None if deleted, written by the group's owner)
OnAppend = Callable[[str, Record, Process | None], None]  # (topic, record, the sending process if simulated)


class Changelog:
    """The changelog of one table, and the rows that a recovery would build from it, ignoring records that go back."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []
        self.rows: dict[bytes, bytes] = {}

    def append(self, key: bytes, row: bytes | None) -> bool:
        """Append a record; whether it counts, which a record that goes back does not."""
        self.records.append((key, row))
        return apply(self.rows, key, row)

    def lose(self, count: int) -> set[bytes]:
        """Lose the newest records, as a broker does that loses power before it has written them; return their keys."""
        place = max(0, len(self.records) - count)
        lost = {key for key, _ in self.records[place:]}
        del self.records[place:]
        self.rows.clear()
        for key, row in self.records:
            apply(self.rows, key, row)
        return lost


def apply(rows: dict[bytes, bytes], key: bytes, row: bytes | None) -> bool:
    """Apply a changelog record to `rows` as ExactTable does; False if the record goes back and is ignored."""
    if goes_back(rows.get(key), row):
        return False
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row
    return True


class Broker:
    """A broker whose topics have one partition each. While it is not `up`, nothing is fetched, stored or committed.

    Records land within `slow_s` seconds, as while a leader is elected.
    """

    def __init__(self, world: World) -> None:
        self.world, self.up, self.slow_s = world, True, 0.0
        self.topics: dict[str, list[Record]] = {}
        self.changelogs: dict[str, Changelog] = {}
        self.committed: dict[tuple[str, str], int] = {}
        self.owner: dict[str, Process] = {}  # by consumer group, the only process that may commit for it
        self.on_landed: OnLanded = lambda table, key, row, owned: None
        self.on_append: OnAppend = lambda topic, record, sender: None
        self.producers: list[Producer] = []
        self._readers: list[tuple[Process, str, Callable[[], None]]] = []
        self._due: set[str] = set()  # topics whose readers are about to be woken

    def append(self, topic: str, value: bytes, sender: Process | None = None, key: bytes | None = None) -> None:
        """Append a record with the broker's time; `sender` is the process that sent it, None for the outside."""
        log = self.topics.setdefault(topic, [])
        record = Record(len(log), self.world.now_s, key, value)
        log.append(record)
        self.on_append(topic, record, sender)
        if topic not in self._due:
            self._due.add(topic)
            self.world.after(self.world.rng.uniform(*LANDING_S), lambda: self._wake(topic))

    def _wake(self, topic: str) -> None:
        self._due.discard(topic)
        for process, wanted, wake in self._readers:
            if wanted == topic and process.alive:
                wake()

    def read(self, process: Process, topic: str, wake: Callable[[], None]) -> list[Record]:
        """The log of a topic, which grows; `wake` is called when it has grown."""
        self._readers = [reader for reader in self._readers if reader[0].alive]
        self._readers.append((process, topic, wake))
        return self.topics.setdefault(topic, [])

    def restore(self) -> None:
        """Make the broker answer again and wake all readers."""
        self.up = True
        for _, _, wake in self._readers:
            wake()

    def changelog(self, table: str) -> Changelog:
        """The changelog of this table, empty if it is new."""
        return self.changelogs.setdefault(table, Changelog())

    def commit(self, process: Process, group: str, topic: str, offset: int) -> bool:
        """Commit an offset; False unless the process owns the group now. A commit never goes back."""
        if self.owner.get(group) is not process:
            return False
        self.committed[group, topic] = max(self.committed.get((group, topic), 0), offset)
        return True

    def lag(self, before_s: float) -> dict[str, int]:
        """By "group topic", how many records from before `before_s` a living reader has not committed; only if any."""
        waiting = {
            f"{group} {topic}": sum(record.timestamp_s < before_s for record in self.topics.get(topic, [])[offset:])
            for (group, topic), offset in self.committed.items()
            if self.owner[group].alive
        }
        return {reader: count for reader, count in waiting.items() if count}


class Producer:
    """The unanswered records of one process to one destination. They land in order, or not at all."""

    def __init__(self, process: Process, broker: Broker, land: Callable[[Any], None]) -> None:
        self._process, self._broker, self._land = process, broker, land
        self._waiting: list[tuple[Any, Any]] = []
        self._due = False
        self.fail_next = False
        broker.producers.append(self)

    def cut_off(self) -> None:
        """A frozen process loses what it had sent: its connection ends with the broker."""
        if self._process.frozen:
            self._waiting.clear()

    def send(self, record: Any) -> Any:
        """Queue a record; a future that becomes done when the broker has answered."""
        answer = self._process.loop.create_future()
        self._waiting.append((record, answer))
        if not self._due:
            self._due = True
            rng = self._process.world.rng
            self._later(rng.uniform(*LANDING_S) + rng.uniform(0.0, self._broker.slow_s))
        return answer

    def crashed(self) -> None:
        """The process is gone: some of its records still arrive, possibly after a successor has written."""
        count = self._process.world.rng.randrange(len(self._waiting) + 1) if self._broker.up else 0
        for record, _ in self._waiting[:count]:
            self._land(record)
        self._waiting.clear()

    def _later(self, delay_s: float) -> None:
        self._process.world.after(delay_s, self._arrive)

    def _arrive(self) -> None:
        if not self._process.alive:
            return
        if not self._broker.up or self._process.frozen:
            self._later(RETRY_S)
            return
        self._due = False
        waiting, self._waiting = self._waiting, []
        for record, answer in waiting:
            if self.fail_next:
                self.fail_next = False
                answer.set_exception(OSError("message too large"))
                continue
            self._land(record)
            if not answer.done():
                answer.set_result(None)
