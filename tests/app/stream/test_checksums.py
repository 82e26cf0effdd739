"""Batches as a broker sends them, whole and damaged."""

from types import SimpleNamespace
from typing import Any

import google_crc32c
import pytest
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11

from app.config.settings import Settings
from app.kafka.bounded import split
from app.stream import worker
from app.stream.checksums import BY_INSTRUCTION, check_answers, is_whole
from app.stream.worker import create_app
from tests.app.stream.test_fetching import ATTRIBUTES, batch

FETCH = FetchRequest(100, 1, 1 << 20, 0, [("flows", [(0, 4, 1 << 20)])])
BATCHES = [batch(4, b"a", None), batch(6, b"c" * 1000)]


def test_the_processor_does_it_and_not_python() -> None:
    assert google_crc32c.implementation == "c"
    assert BY_INSTRUCTION


@pytest.mark.parametrize("ours", [True, False])
def test_aiokafka_does_it_where_we_do_not(ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BY_INSTRUCTION", ours)
    assert create_app("checks", Settings(pops=("none",))).conf.broker_check_crcs is not ours


@pytest.mark.parametrize("cut", [1, 500, len(BATCHES[1]) - 1])
def test_the_batch_that_the_broker_cut_off_is_nobodys(cut: int) -> None:
    sent = b"".join(BATCHES)
    assert list(split(sent)) == BATCHES
    assert list(split(sent[:-cut])) == BATCHES[:1]
    assert list(split(b"")) == []


@pytest.mark.parametrize("at", [ATTRIBUTES - 4, ATTRIBUTES, ATTRIBUTES + 4, -1])
def test_each_byte_counts(at: int) -> None:
    for whole in BATCHES:
        damaged = bytearray(whole)
        damaged[at] ^= 0x40
        assert is_whole(whole)
        assert not is_whole(bytes(damaged))


@pytest.mark.parametrize("length", [-12, -1, 0, 9])
def test_a_batch_without_a_body_is_refused_and_not_looked_at_for_ever(length: int) -> None:
    damaged = bytearray(BATCHES[0])
    damaged[8:12] = length.to_bytes(4, "big", signed=True)
    assert not all(map(is_whole, split(bytes(damaged))))


async def answered(batches: bytes | None, request: Any = FETCH) -> Any:
    """By a client whose broker has these batches."""

    async def send(node_id: int, request: Any, *, group: int = 0) -> Any:
        return FetchResponse_v11(0, 0, 0, [("flows", [(0, 0, 6, 6, 0, None, -1, batches)])])

    client: Any = SimpleNamespace(send=send)
    check_answers(client)
    return await client.send(1, request, group=1)


async def test_whole_batches_go_on_as_they_came() -> None:
    sent = b"".join(BATCHES)
    ((_, ((*_, batches),)),) = (await answered(sent)).topics
    assert batches is sent
    assert await answered(None)


async def test_a_damaged_one_is_an_error_that_a_fetcher_tries_again_after() -> None:
    damaged = bytearray(b"".join(BATCHES))
    damaged[-3] ^= 1
    assert issubclass(CorruptRecordException, KafkaError)
    with pytest.raises(CorruptRecordException, match="flows/0"):
        await answered(bytes(damaged))
    assert await answered(bytes(damaged), request=object()), "of another request, it is nothing of ours"
