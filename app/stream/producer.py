"""Faust's producer, made by app/kafka/client.py, which sends only while this worker is a member of its group."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from faust.transport.drivers.aiokafka import Producer

from app.kafka import client
from app.private_names import ProducerNames, sender_of
from app.stream.app import exact

STOP_S = 5.0
OF_THE_CLIENT = ("bootstrap_servers", "security_protocol", "acks")  # client.producer sets these itself


class ClientProducer(ProducerNames, Producer):
    """Faust's aiokafka producer with the connection of our own clients."""

    def new_producer(self, settings: Mapping[str, Any]) -> Any:
        app = exact(self.app)
        producer = client.producer(
            app.kafka, **{name: value for name, value in settings.items() if name not in OF_THE_CLIENT}
        )
        app.membership.guard(sender_of(producer))
        return producer

    async def on_stop(self) -> None:
        """Stop as Faust does, but do not wait long for records of a flush that has not ended: they are read again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await super().on_stop()
