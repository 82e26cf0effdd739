"""The broker of a simulated run: plain logs, compacted changelogs and commits, with everything that delays them."""

from collections.abc import Callable
from typing import Any

from app.simulation.loop import Process, World
from app.stream.consumer import Record
from tables.store import goes_back

LANDING_S = (0.002, 0.06)
RETRY_S = 0.2

OnLanded = Callable[[str, str, bytes | None, bool], None]  # (table, key, row or None, by the owner of the group)
OnAppend = Callable[[str, Record, Process | None], None]  # (topic, record, its sender if that is one of ours)


class Changelog:
    """The records of one table, and the rows that a recovery makes of them: what goes back is ignored."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None]] = []
        self.rows: dict[bytes, bytes] = {}

    def append(self, key: bytes, row: bytes | None) -> bool:
        """Whether it counts."""
        self.records.append((key, row))
        return apply(self.rows, key, row)


def apply(rows: dict[bytes, bytes], key: bytes, row: bytes | None) -> bool:
    """Take over a changelog record as ExactTable does; False where it is ignored."""
    if goes_back(rows.get(key), row):
        return False
    if row is None:
        rows.pop(key, None)
    else:
        rows[key] = row
    return True


class Broker:
    """Topics of one partition. While not `up` nothing is fetched, lands or is committed."""

    def __init__(self, world: World) -> None:
        self.world, self.up = world, True
        self.topics: dict[str, list[Record]] = {}
        self.changelogs: dict[str, Changelog] = {}
        self.committed: dict[tuple[str, str], int] = {}
        self.owner: dict[str, Process] = {}  # of a consumer group: nobody else may commit for it
        self.on_landed: OnLanded = lambda table, key, row, owned: None
        self.on_append: OnAppend = lambda topic, record, sender: None
        self._readers: list[tuple[Process, str, Callable[[], None]]] = []
        self._due: set[str] = set()  # topics whose readers are about to be told

    def append(self, topic: str, value: bytes, sender: Process | None = None) -> None:
        """A record from outside or from a process; its time is the broker's."""
        log = self.topics.setdefault(topic, [])
        record = Record(len(log), self.world.now_s, None, value)
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
        """The log of a topic; `wake` is called when there is more."""
        self._readers = [reader for reader in self._readers if reader[0].alive]
        self._readers.append((process, topic, wake))
        return self.topics.setdefault(topic, [])

    def restore(self) -> None:
        """The broker answers again."""
        self.up = True
        for _, _, wake in self._readers:
            wake()

    def changelog(self, table: str) -> Changelog:
        return self.changelogs.setdefault(table, Changelog())

    def commit(self, process: Process, group: str, topic: str, offset: int) -> bool:
        """Whether it was taken: only from the member that owns the group now. A commit never goes back."""
        if self.owner.get(group) is not process:
            return False
        self.committed[group, topic] = max(self.committed.get((group, topic), 0), offset)
        return True

    def lag(self, before_s: float) -> dict[str, int]:
        """By group and topic, how many records of before this moment are not committed; only where there are."""
        waiting = {
            f"{group} {topic}": sum(record.timestamp_s < before_s for record in self.topics.get(topic, [])[offset:])
            for (group, topic), offset in self.committed.items()
        }
        return {where: count for where, count in waiting.items() if count}


class Producer:
    """What one process has sent to one destination and not had answered; it lands in order, or not at all."""

    def __init__(self, process: Process, broker: Broker, land: Callable[[Any], None]) -> None:
        self._process, self._broker, self._land = process, broker, land
        self._waiting: list[tuple[Any, Any]] = []
        self._due = False
        self.fail_next = False

    def send(self, what: Any) -> Any:
        """Queue a record; the future is its answer."""
        answer = self._process.loop.create_future()
        self._waiting.append((what, answer))
        if not self._due:
            self._due = True
            self._later(self._process.world.rng.uniform(*LANDING_S))
        return answer

    def crashed(self) -> None:
        """The process is gone: some of what was on its way arrives, though a successor may have written since."""
        count = self._process.world.rng.randrange(len(self._waiting) + 1) if self._broker.up else 0
        for what, _ in self._waiting[:count]:
            self._land(what)
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
        for what, answer in waiting:
            if self.fail_next:
                self.fail_next = False
                answer.set_exception(OSError("message too large"))
                continue
            self._land(what)
            if not answer.done():
                answer.set_result(None)
