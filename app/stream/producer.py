"""Faust's producer, made by app/kafka/client.py.

Relies on private names of faust-streaming 0.15.3 (`_new_producer`, `_settings_default`): a test names them.
"""

from typing import Any

from faust.transport.drivers.aiokafka import Producer

from app.kafka import client
from app.stream.app import exact

OF_THE_CLIENT = ("bootstrap_servers", "security_protocol", "acks")  # client.producer sets these itself


class ClientProducer(Producer):
    """Faust's aiokafka producer with the connection of our own clients."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        assert transactional_id is None, "our apps use no transactions"
        settings = {name: value for name, value in self._settings_default().items() if name not in OF_THE_CLIENT}
        return client.producer(exact(self.app).kafka, **settings)
