"""Faust's producer, as our app makes it: guarded by the membership, and no stop waits for a broker that is away."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from faust.transport.drivers.aiokafka import Producer

from app.config.settings import Settings
from app.stream import producer as module
from app.stream.app import ExactApp
from app.stream.producer import ClientProducer
from app.stream.worker import create_app
from tests.patience import PATIENCE_S


@pytest.fixture
def app(tmp_path: Path) -> ExactApp:
    return create_app("producing", Settings(pops=("none",), data_dir=str(tmp_path)))


async def test_what_it_sends_waits_for_the_membership(app: ExactApp) -> None:
    producer = cast(ClientProducer, app.producer)._new_producer()
    producer._sender._in_flight.add(1)
    sending = asyncio.ensure_future(producer._sender._send_produce_req(1, {}))
    await sending
    assert producer._sender._send_produce_req.__module__ == "app.private_names"
    assert producer._sender._in_flight == set()
    await producer.stop()


async def test_a_stop_does_not_wait_for_a_broker_that_is_away(app: ExactApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flush has left is read again; aiokafka would wait for as long as a request may take."""

    async def waits(self: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "STOP_S", 0.01)
    monkeypatch.setattr(Producer, "on_stop", waits)
    await asyncio.wait_for(cast(ClientProducer, app.producer).on_stop(), PATIENCE_S)
