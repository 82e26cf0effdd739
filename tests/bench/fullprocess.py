"""The RIB at full table in process, for tests/bench/fulltable.py: the real routes state over RocksDB, without Kafka.

One process takes the dump in and is churned, the next loads the rows and decides on 20,000 active prefixes. Times are
CPU seconds of the process that does the work; messages are made in another one.
"""

import gc
import random
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from time import process_time
from typing import Any, cast

from faust.stores.rocksdb import RocksDBOptions
from faust.types import TP

from agents.routes import RoutesState
from app.config.inventory import Pop, load_pop
from app.config.thresholds import Policy
from app.stream.consumer import Record
from app.stream.worker import COLLECT_AFTER
from app.te.decision.cycle import CycleState, run_cycle
from app.te.routing.natural import NaturalRouting
from app.te.traffic.demand import Demand
from app.te.traffic.link import LinkWindow
from app.te.traffic.observed import Observer
from tables.rib import RibTable
from tables.store import TABLE_OPTIONS, ExactTable
from tests.agents.outbox import Outbox
from tests.bench import internet, network

POP, CAPACITY_BPS = "rhv9", 100e9
TOPIC = TP(f"bmp-{POP}", 0)
BATCH = 5_000  # updates between two flushes, about a second of a cold load
CHURN_S, UPDATES_A_SECOND = 30, 1_000
GONE_SHARE = 0.05  # of churned paths are withdrawn, and told again a second later
ACTIVE = 20_000
WINDOW_S, HISTORY = 10, 9
KIB, MIB = 1 << 10, 1 << 20
Figures = dict[str, float]


class DiskTable:
    """What Rows needs of a table, over RocksDB as Faust opens it; counts what goes out to the changelog."""

    def __init__(self, directory: Path) -> None:
        self.name = "rib"
        self.rows = self.size_bytes = 0
        self._db: Any = RocksDBOptions(**cast(Any, TABLE_OPTIONS)).open(directory / "rib.db")

    def get(self, key: bytes) -> bytes | None:
        return cast(bytes | None, self._db.get(key))

    def put(self, key: bytes, row: bytes) -> None:
        self.rows, self.size_bytes = self.rows + 1, self.size_bytes + len(row)
        self._db[key] = row

    def __delitem__(self, key: bytes) -> None:
        self.rows += 1
        del self._db[key]

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return cast(Iterator[tuple[bytes, bytes]], self._db.items())

    def close(self) -> None:
        self._db.close()


class Worker:
    """The routes state and natural routing of one PoP."""

    def __init__(self, directory: Path) -> None:
        gc.set_threshold(*COLLECT_AFTER)
        self.disk = DiskTable(directory)
        inventory = directory / f"{POP}.toml"
        inventory.write_text(network.inventory(POP, CAPACITY_BPS), encoding="utf-8")
        self.pop: Pop = load_pop(inventory)
        table = RibTable(cast(ExactTable, self.disk))
        self.state = RoutesState({POP: self.pop}, table, Outbox().publisher, lambda *_: None, lambda topic: None)
        self.rib = self.state.ribs[POP]
        self.natural = NaturalRouting(self.pop, self.rib)

    @property
    def offset(self) -> int:
        """Of the next record."""
        return 1 + self.state.feeds[POP].sessions.applied

    def apply(self, messages: Sequence[bytes]) -> None:
        records = [Record(offset, 0.0, None, message) for offset, message in enumerate(messages, self.offset)]
        self.state.apply(TOPIC, records)

    def flush(self) -> None:
        self.state.write_rows()
        self.state.write_progress()

    def drain(self) -> int:
        """Flush until all rows are whole; how many flushes that took."""
        flushes = 0
        while self.state.checkpoint()[TOPIC.topic] < self.offset - 1:
            self.flush()
            flushes += 1
        return flushes

    def match(self, prefixes: int) -> None:
        """Some addresses, as a batch of flows asks for them; all are known."""
        numbers = range(0, prefixes, max(1, prefixes // 1000))
        found = self.natural.table().match([internet.address_in(number) for number in numbers])
        assert None not in found, "an announced address has no prefix"


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = process_time()
    work()
    return process_time() - began


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * KIB


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def send_dump(out: Connection, prefixes: int) -> None:
    """Another process: the messages, in batches."""
    messages = internet.dump(prefixes)
    while batch := list(islice(messages, BATCH)):
        out.send(batch)
    out.send([])


def received(prefixes: int) -> Iterator[list[bytes]]:
    context = get_context("spawn")
    inlet, outlet = context.Pipe(duplex=False)
    sender = context.Process(target=send_dump, args=(outlet, prefixes), daemon=True)
    sender.start()
    while batch := inlet.recv():
        yield batch
    sender.join()


def cold_load(worker: Worker, prefixes: int) -> Figures:
    """The dump of all peers, flushed each batch."""
    before, paths = resident_bytes(), prefixes * len(internet.PEERS)
    worker.apply(internet.sessions())
    apply_s = flush_s = 0.0
    for batch in received(prefixes):
        apply_s += cpu_s(partial(worker.apply, batch))
        flush_s += cpu_s(worker.flush)
    gc.collect()
    resident = resident_bytes()
    return {
        "apply_us_an_update": apply_s / paths * 1e6,
        "flush_us_an_update": flush_s / paths * 1e6,
        "cold_load_s": apply_s + flush_s,
        "cold_load_written_mib": worker.disk.size_bytes / MIB,
        "resident_mib": resident / MIB,
        "resident_bytes_a_path": (resident - before) / paths,
    }


def churn(worker: Worker, prefixes: int) -> Figures:
    """Seconds of random updates, each with its flush and a batch of flows to match."""
    chance, gone = random.Random(1), list[tuple[int, int]]()
    rows, size_bytes = worker.disk.rows, worker.disk.size_bytes
    apply_s = flush_s = match_s = slowest_s = 0.0
    worker.match(prefixes)
    for second in range(CHURN_S):
        again, gone = gone, []
        messages = [internet.update(*path, prefixes) for path in again]
        while len(messages) < UPDATES_A_SECOND:
            path = chance.randrange(prefixes), chance.randrange(len(internet.PEERS))
            if chance.random() < GONE_SHARE:
                gone.append(path)
                messages.append(internet.withdraw(*path))
            else:
                messages.append(internet.update(*path, prefixes, 1 + second))
        apply_s += cpu_s(partial(worker.apply, messages))
        flush_s += cpu_s(worker.flush)
        one_s = cpu_s(lambda: worker.match(prefixes))
        match_s, slowest_s = match_s + one_s, max(slowest_s, one_s)
    return {
        "churn_apply_s_a_second": apply_s / CHURN_S,
        "churn_flush_s_a_second": flush_s / CHURN_S,
        "churn_match_s_a_second": match_s / CHURN_S,
        "churn_match_slowest_s": slowest_s,
        "churn_rows_a_second": (worker.disk.rows - rows) / CHURN_S,
        "churn_mib_a_second": (worker.disk.size_bytes - size_bytes) / CHURN_S / MIB,
    }


def fill(directory: Path, prefixes: int) -> Figures:
    """The process that reads the topic for the first time."""
    worker = Worker(directory)
    figures = cold_load(worker, prefixes) | churn(worker, prefixes)
    figures |= {"drain_s": cpu_s(worker.drain)}
    worker.disk.close()
    return figures | {"peak_mib": peak_bytes() / MIB}


def load(directory: Path, prefixes: int) -> Figures:
    """The process that finds the rows on its disk."""
    worker = Worker(directory)
    before = resident_bytes()
    load_s = cpu_s(worker.state.load)
    gc.collect()
    gc.freeze()
    loaded = resident_bytes()
    figures = {
        "load_s": load_s,
        "load_resident_mib": loaded / MIB,
        "load_bytes_a_path": (loaded - before) / (prefixes * len(internet.PEERS)),
        "table_build_s": cpu_s(lambda: worker.natural.table()),
    }
    worker.match(prefixes)
    figures |= cycles(worker, prefixes)
    gc.collect()
    figures |= {
        "peer_down_s": cpu_s(lambda: worker.apply([internet.peer_down(0)])),
        "peer_down_flush_s": cpu_s(worker.flush),
    }
    return figures | {"decided_resident_mib": resident_bytes() / MIB, "load_peak_mib": peak_bytes() / MIB}


def cycles(worker: Worker, prefixes: int) -> Figures:
    """Decisions on the same windows: the first computes natural routing of all active prefixes, the second none."""
    active = [internet.prefix_of(number * (prefixes // min(ACTIVE, prefixes))) for number in range(ACTIVE)][:prefixes]
    history = [windows(worker.pop, active, WINDOW_S * number) for number in range(HISTORY)]
    end_s = WINDOW_S * HISTORY
    state, observer = CycleState(), Observer(worker.natural)

    def decide() -> None:
        nonlocal state
        state = run_cycle(worker.pop, Policy(), observer.observe(history), state, end_s).state

    first_s, second_s = cpu_s(decide), cpu_s(decide)
    assert state.links, "no link is congested: nothing was decided"
    return {"cycle_first_s": first_s, "cycle_again_s": second_s}


def windows(pop: Pop, active: Sequence[str], start_s: int) -> dict[str, LinkWindow]:
    """All active prefixes leave by the transit with the most capacity in use; one link is above its mark."""
    shares = {internet.PEERS[0]: 0.95, internet.PEERS[1]: 0.4, internet.PEERS[2]: 0.3}
    made = {}
    for link in range(network.LINKS):
        carried_bps = shares.get(link, 0.0) * CAPACITY_BPS
        mine = active if link == internet.PEERS[0] else active[link::100] if link in shares else ()
        size_bytes = round(carried_bps * WINDOW_S / 8 / max(1, len(mine)))
        router = f"r{1 + link // network.LINKS_A_ROUTER}"
        name = network.link_id(POP, link)
        demand = Demand.of({(router, prefix): (size_bytes, 100) for prefix in mine})
        made[name] = LinkWindow(
            link=name,
            window_start_s=start_s,
            window_s=WINDOW_S,
            capacity_bps=CAPACITY_BPS,
            carried_bps=carried_bps,
            dropped_bps=0.0,
            received_bps=carried_bps,
            up=True,
            samples=100 * len(mine),
            demand=demand,
            sampled_bytes=size_bytes * len(mine),
        )
    assert set(made) == set(pop.links), "links of another PoP"
    return made


def measure(prefixes: int) -> Figures:
    """Each part in a process of its own, one after the other."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        for part in (fill, load):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                figures |= pool.submit(part, Path(name), prefixes).result()
    return figures
