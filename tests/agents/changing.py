"""A flows state that dies at any moment and comes back with another configuration, over tables that outlive it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import msgspec
from faust.types import TP

from agents.flows import FlowsState, FlowTables, Publishers
from app.clock import ManualClock
from app.config.inventory import Pop
from app.config.thresholds import WindowSettings
from app.feeds.placing import TableOf
from app.stream.consumer import Record
from app.stream.final_rows import FinalRows
from app.te.cycle_state import CycleState
from app.te.traffic.windows import ClosedWindow, Progress, Sums
from tables.congestion import CongestionTable, CycleRow, progress_key
from tables.link_windows import LinkWindowRow
from tests.agents.outbox import Outbox
from tests.app.feeds.test_accounting import T0, flow, purge, table_of
from tests.tables.memory import memory_rows, memory_table

TOPIC = TP("sfacctd-flows-rhv1000", 0)
SIZE = 100_000  # bytes that one record stands for
LENGTHS_S = (5, 10, 15, 20)
Window = tuple[int, int]  # start and length, in seconds


class DiedError(Exception):
    """The worker died amid a flush."""


class Deciding:
    """A decider that decides nothing and notes each window with the bytes of its links."""

    def __init__(self, closed: list[tuple[Window, dict[str, int]]]) -> None:
        self._closed = closed
        self.cycle = CycleRow(1, 0, CycleState())

    def load(
        self,
        closed: Sequence[tuple[int, str, LinkWindowRow]],
        cycle: CycleRow | None,
        epoch: int = 0,
        has_lost: bool = False,
    ) -> None:
        assert all(row.length_s for _, _, row in closed)

    def close(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        sizes_bytes = {link: each.size_bytes + each.unroutable_bytes for link, each in sums.items()}
        self._closed.append(((window.start_s, window.length_s), sizes_bytes))
        return self.finish(window, sums)

    def finish(self, window: ClosedWindow, sums: dict[str, Sums]) -> dict[str, LinkWindowRow]:
        return {link: LinkWindowRow(each, None, closed=True, length_s=window.length_s) for link, each in sums.items()}


class ChangingWorker:
    """The worker and its topic. `sent` are bytes by (second, link of the first inventory); links are named by port."""

    def __init__(self, pop: Pop, windows: WindowSettings) -> None:
        self.pop, self.windows = pop, windows
        self.link_windows = memory_rows(LinkWindowRow)
        self.congestion = CongestionTable(memory_table("congestion"))
        self.log: list[tuple[float, bytes]] = []
        self.read = self.committed = 0
        self.sent: Counter[tuple[int, int]] = Counter()
        self.published: dict[int, tuple[int, dict[str, int]]] = {}
        self.start()

    def start(self) -> None:
        """Start a worker with the configuration of now, from the tables and the commit."""

        def new_table_of(pop: Pop) -> TableOf:
            return table_of

        closed: list[tuple[Window, dict[str, int]]] = []
        self._closed = closed
        self.state = FlowsState(
            {"rhv1000": self.pop},
            self.windows,
            FlowTables(
                self.link_windows,
                self.congestion,
                FinalRows(20.0, ManualClock().monotonic_s),
                lambda topic: self.committed,
            ),
            Publishers(Outbox().publisher, {"rhv1000": Outbox().publisher}),
            lambda pop: Deciding(closed),
            new_table_of,
        )
        self.state.load()
        self.read = self.committed

    def reload(self) -> None:
        """Take over the configuration of now."""
        self.state.reconfigure({"rhv1000": self.pop}, self.windows)

    def send(self, at_s: float, seconds: Sequence[int], ports: Sequence[int]) -> None:
        """A message at Kafka time `at_s` with one record for each of these times and output ports."""
        lines = [flow(second, iface_out=port) for second, port in zip(seconds, ports, strict=True)]
        self.log.append((at_s, b"\n".join(lines)))
        self.sent.update({(second, port): 0 for second, port in zip(seconds, ports, strict=True)})
        for second, port in zip(seconds, ports, strict=True):
            self.sent[second, port] += SIZE

    def mark(self, at_s: float) -> None:
        """A purge without records."""
        self.log += purge(at_s, f"w/{at_s}")

    def take(self, most: int) -> None:
        """Read at most so many messages at once."""
        if batch := self.log[self.read : self.read + most]:
            records = [Record(self.read + place, at_s, None, message) for place, (at_s, message) in enumerate(batch)]
            self.state.apply(TOPIC, records)
            self.read += len(batch)

    def flush(self, rows_max: int = 1 << 30, dies_before_progress: bool = False) -> None:
        """Flush as the reader does; DiedError after so many rows, or before the progress."""
        self.state.write_premises()
        put = self.link_windows.put

        def bounded(key: str, row: LinkWindowRow) -> int:
            nonlocal rows_max
            rows_max -= 1
            if rows_max < 0:
                raise DiedError
            return put(key, row)

        self.link_windows.put = bounded  # type: ignore[method-assign]
        try:
            self.state.write_rows()
        finally:
            self.link_windows.put = put  # type: ignore[method-assign]
        self._publish()
        if dies_before_progress:
            raise DiedError
        self.state.write_progress()
        self.committed = self.read

    def _publish(self) -> None:
        for (start_s, length_s), sizes_bytes in self._closed:
            had = {link: size for link, size in sizes_bytes.items() if size}
            before = self.published.setdefault(start_s, (length_s, had))
            assert before == (length_s, had), f"{start_s} is published twice, as {before} and {length_s, had}"
        self._closed.clear()

    @property
    def progress(self) -> Progress:
        """The progress as it was written last."""
        progress = self.congestion.progress.get(progress_key("rhv1000"))
        assert progress is not None
        return progress

    def finish(self, at_s: float) -> None:
        """Close everything."""
        for second in range(0, 120, 2):
            self.mark(at_s + second)
        while self.read < len(self.log):
            self.take(50)
        self.flush()


def live(worker: ChangingWorker, random: Random, pops: Sequence[Pop], late_max_s: int) -> None:
    """A minute or two of traffic amid crashes, restarts and reloads, each perhaps with another configuration."""
    now_s = T0 + random.randrange(40)
    for number in range(random.randint(20, 60)):
        count = random.randint(0, 4)
        ages_s = random.choices(range(late_max_s + 1), k=count)
        if count:
            worker.send(now_s + 1, [now_s - age_s for age_s in ages_s], random.choices((101, 102, 103), k=count))
        worker.log += purge(now_s + 1, f"w/{number}")
        now_s += 2
        if random.random() < 0.15:
            worker.windows = WindowSettings(
                length_s=random.choice(LENGTHS_S),
                grace_s=random.choice((2, 2, 4)) + late_max_s,
                refresh_s=2,
                retention_s=60,
            )
            worker.pop = random.choice(pops)
        _step(worker, random)
    worker.finish(now_s)


def _step(worker: ChangingWorker, random: Random) -> None:
    match random.choice(("wait", "read", "read", "read", "flush", "flush", "reload", "restart", "die", "die")):
        case "read":
            worker.take(random.randint(1, 12))
        case "flush":
            worker.take(100)
            worker.flush()
        case "reload":
            worker.reload()
        case "restart":
            worker.start()
        case "die":
            worker.take(random.randint(1, 12))
            try:
                worker.flush(rows_max=random.choice((0, 1, 2, 3, 1 << 30)), dies_before_progress=True)
            except DiedError:
                worker.start()
        case _:
            pass


def gaps(published: Mapping[int, tuple[int, object]]) -> list[tuple[int, int]]:
    """(end of a window, start of the next) wherever windows leave a gap or overlap."""
    starts_s = sorted(published)
    ends_s = [start_s + published[start_s][0] for start_s in starts_s]
    return [pair for pair in zip(ends_s, starts_s[1:], strict=False) if pair[0] != pair[1]]


def without(pop: Pop, link: str) -> Pop:
    """The inventory without a link."""
    return msgspec.structs.replace(pop, link=tuple(each for each in pop.link if pop.link_id(each) != link))
