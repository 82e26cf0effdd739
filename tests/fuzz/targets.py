"""What is fuzzed: each target gets a batch of mutants and raises where a reader would have ended its process."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from faust.types import TP

from app.contract import topics
from app.contract.decoding import Read, Rejected, decode_or_rejected, reader_of
from app.contract.schemas import PUBLISHED
from app.feeds import bmp, counters
from app.feeds import flows as flow_feed
from app.feeds.batches import read
from app.feeds.columns import FlowColumns, flows_of
from app.feeds.scan import scan
from app.kafka.bounded import BATCH_BYTES_MAX, BoundedBatches
from app.stream.fetching import Hole, SourceRecords, Times
from app.web.truth import _read as read_truth
from tests.app.stream.test_fetching import signed
from tests.fuzz import corpus, signatures
from tests.fuzz.actuation import Actuator, Tally, decisions
from tests.fuzz.corpus import POP
from tests.fuzz.mutation import Mutator
from tests.fuzz.worlds import Readers, Telemetry, fresh

ROUNDS_OF_A_WORLD = 40
LINES_TOGETHER = 4
Row = tuple[Any, ...]
Keyed = tuple[bytes | None, bytes | None]
Run = Callable[[Sequence[bytes], random.Random], None]


class Difference(Exception):
    """Two readers of the same bytes disagree."""


class Target(NamedTuple):
    """A reader, valid records for it, and how many mutants a round has. Without records it gets random bytes."""

    name: str
    seeds: Sequence[bytes]
    run: Run
    mutants: int = 200

    def make(self, rng: random.Random) -> list[bytes]:
        """The inputs of a round."""
        if not self.seeds:
            return [rng.randbytes(8) for _ in range(self.mutants)]
        return Mutator(self.seeds, rng).mutants(self.mutants)


def rows(flows: FlowColumns) -> list[Row]:
    """Record by record, with its source."""
    columns = (flows.source, flows.at_s, *flows.destinations, flows.samples, flows.sizes_bytes)
    table = zip(*(column.tolist() for column in columns), strict=True)
    return [(flows.sources[source], *rest) for source, *rest in table]


def scanner_and_library(values: Sequence[bytes], rng: random.Random) -> None:
    """The C scanner and the JSON library read the same of every line that the scanner takes.

    Whether it takes a line depends on the lines before (it looks for the same members at the same places), so texts
    are short, and the same line may be taken once and left once.
    """
    for begin in range(0, len(values), LINES_TOGETHER):
        _compare(b"\n".join(values[begin : begin + LINES_TOGETHER]))


def _compare(text: bytes) -> None:
    columns, left = scan([text])
    lines = Counter(line for line in text.split(b"\n") if line)
    taken = Counter[bytes]() if left == [text] else lines - Counter(left)
    theirs = Counter[Row]()
    for line, count in taken.items():
        decoded = [item for item in flow_feed.decode(line) if isinstance(item, flow_feed.Flow)]
        if len(decoded) != 1:
            raise Difference(f"the scanner takes a line that the library refuses: {line[:300]!r}")
        theirs[rows(flows_of(decoded))[0]] += count
    if (ours := Counter(rows(columns))) != theirs:
        raise Difference(f"the scanner reads {list(ours - theirs)[:3]}, the library {list(theirs - ours)[:3]}")


def flow_messages(values: Sequence[bytes], rng: random.Random) -> None:
    """Messages of the flow topic: nothing is lost between the columns, the markers and what is rejected."""
    for value in values:
        batch = read([value])
        decoded = list(flow_feed.decode(value))
        if len(batch.flows.source) != sum(isinstance(item, flow_feed.Flow) for item in decoded):
            raise Difference(f"{value[:300]!r} has another number of flows in columns")


def decoders(values: Sequence[bytes], rng: random.Random) -> None:
    """Decoders of the feeds that read one record a message, each on records of all kinds."""
    for value in values:
        counters.decode(value)
        bmp.decode(value)
        read_truth(value)
        decode_or_rejected(lambda raw: raw.decode(), value)


READERS: list[tuple[Read[Any], type]] = [(reader_of(kind), kind) for kind in PUBLISHED]


def schemas(values: Sequence[bytes], rng: random.Random) -> None:
    """Readers of everything that we publish: what one accepts has the type that it promises."""
    for value in values:
        for accept, kind in READERS:
            record: Any = accept(value)
            assert isinstance(record, kind | Rejected), kind


def fetched(values: Sequence[bytes], rng: random.Random) -> None:
    """Batches as a broker would send them, with checksums that match: records or holes, and a bounded size."""
    for value in values:
        if len(value) < 61:
            continue
        content = signed(value[:16] + b"\2" + value[17:], 4, int.from_bytes(value[21:23], "big"))
        theirs = PartitionRecords(TP("t", 0), BoundedBatches(content), [], 4, None, None, True, READ_COMMITTED)
        sizes = [
            0 if isinstance(item, Hole) else sum(len(r.value) for r in item.records)
            for item in SourceRecords(theirs, Times())
        ]
        assert sum(sizes) <= BATCH_BYTES_MAX
        for _ in PartitionRecords(TP("t", 0), BoundedBatches(content), [], 4, None, None, True, READ_UNCOMMITTED):
            pass


def keyed(values: Sequence[bytes], rng: random.Random) -> list[Keyed]:
    """These records under keys of all kinds, some of them deleted."""
    return [
        (rng.choice((b"*", POP.encode(), None, b"\xff")), rng.choice((value, value, value, None))) for value in values
    ]


def ordered(values: Sequence[bytes], rng: random.Random) -> list[Keyed]:
    """These orders, about half of them under the key that they say."""
    records: list[Keyed] = [(b"*" if b'"pop":"*"' in value else POP.encode(), value) for value in values]
    records += keyed(values, rng)
    rng.shuffle(records)
    return records[: len(values)]


def targets(tally: Tally | None = None) -> list[Target]:
    """All targets, with worlds of their own. `tally` counts what became of decisions and orders."""
    telemetry, readers = fresh(Telemetry, ROUNDS_OF_A_WORLD), fresh(Readers, ROUNDS_OF_A_WORLD)
    actuator = fresh(partial(Actuator, Counter() if tally is None else tally), ROUNDS_OF_A_WORLD)
    published = corpus.published()
    everything = [value for values in published.values() for value in values]
    inputs = {topics.FLOWS: corpus.flows(), topics.COUNTERS: corpus.counters(), topics.BMP: corpus.bmp()}
    read_by_page = {
        topics.CONTROL.name: published["control"],
        topics.LINK_UTILIZATION.name: published["link-utilization"],
        topics.ACTUATIONS.name: published["actuation"],
        topics.DECISIONS.for_pop(POP): published["decision"],
    }

    def agent(topic: str) -> Run:
        def run(values: Sequence[bytes], rng: random.Random) -> None:
            world = telemetry()
            world.take(topic, values)
            world.close_windows()

        return run

    def page(topic: str) -> Run:
        def run(values: Sequence[bytes], rng: random.Random) -> None:
            readers().page(topic, keyed(values, rng))
            readers().screen(topic, keyed(values, rng))

        return run

    def commands(values: Sequence[bytes], rng: random.Random) -> None:
        records = [(rng.choice(list(read_by_page)), *pair) for pair in keyed(values, rng)]
        records += [
            (topic, *pair)
            for topic, seeds in read_by_page.items()
            for pair in keyed(Mutator(seeds, rng).mutants(len(values) // 4), rng)
        ]
        readers().commands(records)

    return [
        Target("scanner", corpus.flows(), scanner_and_library, 1000),
        Target("flow-messages", corpus.flows(), flow_messages),
        Target("decoders", [value for values in inputs.values() for value in values] + everything, decoders),
        Target("schemas", everything, schemas, 100),
        Target("batches", corpus.batches(), fetched, 50),
        *(
            Target(f"agent-{topic.name.removesuffix('-<pop>')}", seeds, agent(topic.for_pop(POP)))
            for topic, seeds in inputs.items()
        ),
        Target(
            "actuator-decisions",
            published["decision"] + decisions(),
            lambda values, rng: actuator().decide(values),
            60,
        ),
        Target("actuator-fields", (), lambda values, rng: actuator().make_and_decide(values), 30),
        Target(
            "actuator-orders", published["control"], lambda values, rng: actuator().order(ordered(values, rng)), 210
        ),
        Target("signed-decisions", [record.value for record in signatures.DECISIONS], signatures.decisions, 100),
        Target("signed-orders", [record.value for record in signatures.GIVEN], signatures.orders, 100),
        *(Target(f"page-{topic}", seeds, page(topic), 100) for topic, seeds in read_by_page.items()),
        Target("commands", everything, commands, 40),
    ]
