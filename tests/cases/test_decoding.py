"""Cases 60 to 65 and more of their kinds: what a topic may hold, at a real broker and a real telemetry worker.

One worker reads the topics of all cases, each in a PoP of its own; then it is stopped, and started again, twice.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from app.contract import topics
from app.errors import EnvironmentProblem
from app.kafka.admin import create_topics
from app.kafka.orders import read_orders, send_control
from app.kafka.read import read_topic
from app.kafka.topic_ids import topic_ids
from app.stream.startup import commits_of
from tests.app.stream.test_fetching import batch, signed
from tests.cases.feeding import CELL, FLOW, Feeding, bomb, feeding, has_ipv6
from tests.consumers import consuming
from tests.integration.conftest import unavailable
from tests.keys import ANYBODY

DATA = Path(__file__).parent / "data"
pytestmark = [
    pytest.mark.services,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("decoding-cases"),
]


def given(case: str) -> Any:
    (folder,) = DATA.glob(f"{case}*")
    return json.loads((folder / "input.json").read_text())


CODECS: list[str] = given("60")["compression.type"]
WRITTEN = "written-in-any"  # the codec of each writer
POPS = (*CODECS, WRITTEN, "makers", "retained", "recreated", "mirrored", "aborted", "bombs", "names", "bytes")
NO_TEXT = (b'{"reason": "caf\xe9"}', b'{"reason": "\\ud800"}', b"[" * 100_000, b"")


def flows(pop: str) -> str:
    return topics.FLOWS.for_pop(pop)


class Played(NamedTuple):
    """What the worker has shown at the end of each part."""

    fed: Feeding
    first: dict[str, int]  # records by PoP
    ends: list[int]  # exit codes, before the topic was recreated
    peak_memory_bytes: int
    unreadable: list[str]  # what `check` said of the batches that cannot be read
    orders_stand: bool
    shown: dict[str, int | None]  # exit codes of commands
    retained: int
    recreated: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Played]:
    configs = {flows(codec): {"compression.type": codec} for codec in CODECS}
    configs[flows("makers")] = {"message.timestamp.type": "LogAppendTime"}
    try:
        async with feeding(tmp_path_factory.mktemp("decoding"), POPS, configs) as fed:
            yield await play(fed)
    except EnvironmentProblem as problem:
        unavailable(problem)


async def play(fed: Feeding) -> Played:
    unreadable = await write_first(fed)
    wanted = {
        **dict.fromkeys(CODECS, 2),
        WRITTEN: len(CODECS),
        "makers": 2,
        "retained": given("62")["read before"],
        "recreated": given("63")["before"],
        "mirrored": given("64")["transactions"] + given("64")["then plain"],
        "aborted": given("transaction-aborted")["committed"],
        "bombs": 3,
        "names": given("header-names")["records"],
        "bytes": 1,
    }
    await fed.counts(wanted)
    first = {pop: await fed.records(pop) for pop in POPS}
    await fed.until(lambda: committed_to_the_ends(fed))
    peak, ends = fed.peak_memory_bytes(), list(fed.ends)
    orders_stand = (await read_orders(fed.kafka, ANYBODY)).halted("bytes")
    shown = {name: (await fed.command(name))[0] for name in ("links", "overrides", "congestion")}
    retained = await lose_some(fed)
    return Played(fed, first, ends, peak, unreadable, orders_stand, shown, retained, await recreate(fed))


async def write_first(fed: Feeding) -> list[str]:
    """Write what each case begins with; the problems that `check` finds while bombs are the newest batches."""
    for codec in CODECS:
        await fed.send(flows(codec), FLOW, FLOW)
        await fed.send(flows(WRITTEN), FLOW, compression_type=codec)
    strange = {"key": b"\xff\x00", "headers": [("trace", b"\xff"), ("empty", b"")]}
    await fed.send(flows("makers"), FLOW, **strange)
    for topic in topics.INPUTS:
        await fed.send(topic.for_pop("makers"), None, b"", **strange)
        await fed.send(topic.for_pop("bytes"), *NO_TEXT)
    await fed.send(flows("makers"), FLOW)
    await fed.send(flows("retained"), *[FLOW] * given("62")["read before"])
    await fed.send(flows("recreated"), *[FLOW] * given("63")["before"])
    await write_transactions(fed)
    named = batch(0, FLOW).replace(b"name", b"nam\xff")
    await fed.send(flows("names"), FLOW)  # first: a batch of our own is not sent again if the topic has no leader yet
    await fed.send_batch(flows("names"), signed(named, 0, 0))
    await send_control(fed.kafka, "bytes", True, "a test")
    for name in (topics.CONTROL.name, topics.DECISIONS.for_pop("bytes"), topics.LINK_UTILIZATION.name):
        await fed.send(name, *NO_TEXT, key=b"bytes")
    await fed.send(flows("bytes"), FLOW)
    return await write_bombs(fed)


async def write_transactions(fed: Feeding) -> None:
    async with fed.producer(transactional_id="mirror") as mirror:
        for _ in range(given("64")["transactions"]):
            async with mirror.transaction():
                await mirror.send_and_wait(flows("mirrored"), FLOW)
        async with mirror.transaction():
            await mirror.send_and_wait(flows("aborted"), FLOW)
        await mirror.begin_transaction()
        await mirror.send_and_wait(flows("aborted"), FLOW)
        await mirror.abort_transaction()
    await fed.send(flows("mirrored"), *[FLOW] * given("64")["then plain"])


async def write_bombs(fed: Feeding) -> list[str]:
    case, problems = given("batch-that-fills"), list[str]()
    for codec in case["codecs"]:
        await fed.send(flows("bombs"), FLOW)
        await fed.send_batch(flows("bombs"), bomb(codec, case["decompressed_bytes"]))
        _, out = await fed.command("check", "--json")
        problems += [problem for problem in json.loads(out)["problems"] if "cannot be read" in problem]
    await fed.send(flows("bombs"), FLOW)
    return problems


async def committed_to_the_ends(fed: Feeding) -> bool:
    """Whether the worker's group has committed up to the end of every input."""
    return await behind(fed) == {}


async def behind(fed: Feeding) -> dict[str, int]:
    """By input, how many offsets the worker's group has not committed, for those inputs where there are any."""
    admin = AIOKafkaAdminClient(bootstrap_servers=fed.broker)
    await admin.start()
    try:
        commits = {
            tp.topic: entry.offset for tp, entry in (await commits_of(admin, f"autopilot-telemetry-{CELL}")).items()
        }
    finally:
        await admin.close()
    inputs = [TopicPartition(topic.for_pop(pop), 0) for topic in topics.INPUTS for pop in POPS]
    async with consuming(fed.broker) as consumer:
        ends = {tp.topic: end for tp, end in (await consumer.end_offsets(inputs)).items()}
    assert ends[flows("aborted")] == given("transaction-aborted")["end"]
    return {name: end - commits.get(name, 0) for name, end in ends.items() if commits.get(name, 0) < end}


async def lose_some(fed: Feeding) -> int:
    """Case 62."""
    case, partition = given("62"), TopicPartition(flows("retained"), 0)
    await fed.stop()
    await fed.send(partition.topic, *[FLOW] * case["written while down"])
    admin = AIOKafkaAdminClient(bootstrap_servers=fed.broker)
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before_offset=case["removed below offset"])})
    finally:
        await admin.close()
    left = case["read before"] + case["written while down"] - case["removed below offset"]
    await fed.counts({"retained": case["read before"] + left})
    await fed.send(partition.topic, FLOW)
    await fed.counts({"retained": case["read before"] + left + 1})
    return await fed.records("retained")


async def recreate(fed: Feeding) -> int:
    """Case 63."""
    case, topic = given("63"), flows("recreated")
    admin = AIOKafkaAdminClient(bootstrap_servers=fed.broker)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def is_gone() -> bool:
            return not await topic_ids(admin, [topic])

        await fed.until(is_gone)
    finally:
        await admin.close()
    await create_topics(fed.kafka, {topic: topics.FLOWS})
    await fed.send(topic, *[FLOW] * case["after"])
    await fed.counts({"recreated": case["before"] + case["after"]})
    return await fed.records("recreated")


async def test_case_60_all_codecs_are_read(played: Played) -> None:
    assert {codec: played.first[codec] for codec in CODECS} == dict.fromkeys(CODECS, 2)
    assert played.first[WRITTEN] == len(CODECS), "compressed by the writer, as pmacct's kafka_config_file may say"
    assert played.ends == [], "the worker never ended"


async def test_case_61_records_of_other_makers_are_passed_over(played: Played) -> None:
    assert played.first["makers"] == 2
    letters = await dead_letters(played.fed, "makers")
    assert letters == {topics.COUNTERS.for_pop("makers"): 2, topics.BMP.for_pop("makers"): 2}


async def test_case_62_what_retention_removed_is_named_and_the_rest_counted(played: Played) -> None:
    case = given("62")
    lost = case["removed below offset"] - case["read before"]
    assert (lost, played.retained) == (13, 2 + 7 + 1)
    assert f"{flows('retained')}: retention removed {lost} records that nobody had read" in played.fed.log.read_text()


async def test_case_63_a_recreated_topic_is_read_from_its_beginning(played: Played) -> None:
    assert played.recreated == 13


async def test_case_64_markers_of_transactions_are_no_loss(played: Played) -> None:
    assert played.first["mirrored"] == 5
    assert "was due" not in played.fed.log.read_text()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
async def test_case_65_a_broker_is_reached_by_its_ipv6_address(played: Played) -> None:
    assert played.fed.worker_broker.startswith("[::1]:")
    assert played.first["mirrored"] == 5


async def test_an_aborted_transaction_is_not_counted_and_nothing_waits_behind_it(played: Played) -> None:
    assert played.first["aborted"] == 1
    assert played.ends == []


async def test_a_batch_that_fills_the_memory_is_one_dead_letter(played: Played) -> None:
    case = given("batch-that-fills")
    assert played.first["bombs"] == 3
    letters = [letter for letter in await letters_of(played.fed) if letter["topic"] == flows("bombs")]
    assert [letter["offset"] for letter in letters] == [1, 3]
    assert all("cannot be decompressed into 64 MiB" in letter["reason"] for letter in letters)
    assert played.peak_memory_bytes < case["memory_bytes_max"]
    assert len(played.unreadable) == len(case["codecs"])
    for codec, problem in zip(case["codecs"], played.unreadable, strict=True):
        assert f"topic {flows('bombs')}: its newest batch cannot be read: a batch whose {codec} data" in problem


async def test_a_header_whose_name_is_no_text_costs_no_record(played: Played) -> None:
    assert played.first["names"] == 2


async def test_bytes_that_are_no_text_stop_nobody(played: Played) -> None:
    assert played.first["bytes"] == 1
    assert await dead_letters(played.fed, "bytes") == {
        flows("bytes"): 3,  # an empty message has no line
        topics.COUNTERS.for_pop("bytes"): 4,
        topics.BMP.for_pop("bytes"): 4,
    }
    assert played.orders_stand
    assert played.shown == {"links": 0, "overrides": 0, "congestion": 0}


async def letters_of(fed: Feeding) -> list[dict[str, Any]]:
    """Every dead letter once."""
    letters = [json.loads(record.value) for record in await read_topic(fed.kafka, topics.DEAD_LETTERS.name)]
    return list({(letter["topic"], letter["offset"]): letter for letter in letters}.values())


async def dead_letters(fed: Feeding, pop: str) -> dict[str, int]:
    """How many dead letters there are of each input of a PoP."""
    names = [letter["topic"] for letter in await letters_of(fed) if letter["topic"].endswith(f"-{pop}")]
    return {name: names.count(name) for name in names}
