"""What the worker says, from all sides: topics, changelogs, its own port, its local disk."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import rocksdict

from app.contract import topics
from app.contract.schemas import DeadLetter, LinkUtilization, PrefixTraffic
from app.kafka.read import read_topic
from app.lab.daemons.kafka import reached_at
from app.simulation.invariants import name_of
from app.te.traffic.windows import Progress
from tables.congestion import progress_key
from tables.link_windows import LinkWindowRow, parts_of
from tables.store import HEADER, decoder_of
from tests.faults.ledger import Amounts, Slot

_link_window = decoder_of(LinkWindowRow)

LAST = 20  # records of that changelog: every flush writes two a PoP


class Row(NamedTuple):
    """A row of `link_windows` at one moment of its history; None is a tombstone."""

    pop: str
    slot: Slot
    row: LinkWindowRow | None


class Published(NamedTuple):
    """A record of `link-utilization` with the moment of its publication."""

    at_s: float
    record: LinkUtilization

    @property
    def slot(self) -> Slot:
        return Slot(self.record.link, int(self.record.window_start.timestamp()))

    @property
    def amounts(self) -> Amounts:
        return Counter(total=self.record.sampled_bytes)


async def utilization(broker: str, pop: str) -> list[Published]:
    records = await read_topic(reached_at(broker), topics.LINK_UTILIZATION.name)
    decoded = [(one.timestamp / 1000, msgspec.json.decode(one.value, type=LinkUtilization)) for one in records]
    return [Published(*pair) for pair in decoded if pair[1].pop == pop]


async def prefix_traffic(broker: str, pop: str) -> list[tuple[Slot, Amounts]]:
    records = await read_topic(reached_at(broker), topics.PREFIX_TRAFFIC.name)
    decoded = [msgspec.json.decode(one.value, type=PrefixTraffic) for one in records]
    return [
        (
            Slot(one.link, int(one.window_start.timestamp())),
            Counter({share.prefix: round(share.bps * one.window_s / 8) for share in one.prefixes}),
        )
        for one in decoded
        if one.pop == pop
    ]


async def changelog(broker: str, cell: str) -> list[Row]:
    """The whole history of `link_windows`, stale rows and all."""
    records = await read_topic(reached_at(broker), f"autopilot-telemetry-{cell}-link_windows-changelog")
    return [_row(record.key, record.value) for record in records if not record.key.startswith(b"|")]


async def changelog_progress(broker: str, cell: str, pop: str) -> Progress | None:
    """The newest progress row of a PoP, which is the last write of every flush."""
    topic, key = f"autopilot-telemetry-{cell}-congestion-changelog", progress_key(pop).encode()
    rows = [record.value for record in await read_topic(reached_at(broker), topic, LAST) if record.key == key]
    return msgspec.msgpack.decode(rows[-1][HEADER.size :], type=Progress) if rows else None


async def contradictions(broker: str, topic: str) -> list[str]:
    """The ids, or numbers of decisions, under which a topic has records with more than one content."""
    contents: dict[str, set[bytes]] = {}
    for record in await read_topic(reached_at(broker), topic):
        contents.setdefault(name_of(record.value), set()).add(record.value)
    return [name for name, different in contents.items() if len(different) > 1]


async def dead_letters(broker: str, pop: str) -> int:
    """For how many records there are letters; a repeat after a restart is the same letter."""
    letters = [
        msgspec.json.decode(record.value, type=DeadLetter)
        for record in await read_topic(reached_at(broker), "dead-letters")
    ]
    flows = topics.FLOWS.for_pop(pop)
    return sum({(letter.offset, letter.index): letter.records for letter in letters if letter.topic == flows}.values())


async def metric(port: int, name: str) -> float | None:
    """The value that a worker gives a metric, which is named with its labels; None if it has no such line."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)


def disk(data_dir: Path) -> list[Row]:
    """The rows of `link_windows` in RocksDB, of a worker that has ended."""
    rows = _raw(data_dir, "link_windows")
    return [_row(key, value) for key, value in rows.items() if key.count(b"|") == 2 and not key.startswith(b"|")]


def disk_progress(data_dir: Path, pop: str) -> Progress:
    """The progress row of a PoP in RocksDB, of a worker that has ended: it may be ahead of the changelog."""
    row = _raw(data_dir, "congestion")[progress_key(pop).encode()]
    return msgspec.msgpack.decode(row[HEADER.size :], type=Progress)


def _raw(data_dir: Path, table: str) -> dict[bytes, bytes]:
    (path,) = data_dir.rglob(f"{table}-0.db")
    options: Any = rocksdict.Options(raw_mode=True)
    database: Any = rocksdict.Rdict(str(path), options=options, access_type=rocksdict.AccessType.read_only())
    try:
        return dict(database.items())
    finally:
        database.close()


def newest(rows: Iterable[Row]) -> Iterator[Row]:
    """The history as a recovery applies it: what goes back in its offset was sent by a worker with a successor."""
    applied: dict[Slot, int] = {}
    for row in rows:
        if row.row is not None:
            if row.row.sums.applied < applied.get(row.slot, -1):
                continue
            applied[row.slot] = row.row.sums.applied
        yield row


def amounts_of(row: LinkWindowRow) -> Amounts:
    """Bytes by "ingress prefix", and what was unroutable."""
    demand = {f"{one.ingress} {one.prefix}": one.size_bytes for one in row.sums.demand}
    return +Counter(demand | {"unroutable": row.sums.unroutable_bytes})


def closed(rows: Iterable[Row], pop: str) -> Iterator[tuple[Slot, Amounts]]:
    """Every version of every row that claimed to be final."""
    return ((slot, amounts_of(row)) for of, slot, row in rows if of == pop and row is not None and row.closed)


def progress_amounts(progress: Progress) -> Amounts:
    left_out = {f"unattributed {reason}": size for reason, size in progress.unattributed_bytes.items()}
    return +Counter(left_out | {"counted": progress.counted_bytes, "late": progress.late_bytes})


def _row(key: bytes, value: bytes | None) -> Row:
    pop, start_s, link = parts_of(key.decode())
    row = _link_window.decode(value[HEADER.size :]) if value else None
    return Row(pop, Slot(link, start_s), row)
