"""Faust's producer, made by app/kafka/client.py, which sends only while this worker is a member of its group.

Relies on private names of faust-streaming 0.15.3 (`_new_producer`, `_settings_default`) and of aiokafka 0.14
(`_sender`): a test names them.
"""

import asyncio
import contextlib
from typing import Any

from faust.transport.drivers.aiokafka import Producer

from app.kafka import client
from app.stream.app import exact

STOP_S = 5.0
OF_THE_CLIENT = ("bootstrap_servers", "security_protocol", "acks")  # client.producer sets these itself


class ClientProducer(Producer):
    """Faust's aiokafka producer with the connection of our own clients."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        assert transactional_id is None, "our apps use no transactions"
        settings = {name: value for name, value in self._settings_default().items() if name not in OF_THE_CLIENT}
        app = exact(self.app)
        producer = client.producer(app.kafka, **settings)
        app.membership.guard(producer._sender)
        return producer

    async def on_stop(self) -> None:
        """Stop as Faust does, but do not wait long for records of a flush that has not ended: they are read again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await super().on_stop()
