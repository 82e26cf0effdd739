"""The Faust app of our workers: it knows how its broker is reached and which incarnations its inputs have."""

from typing import Any, cast

import faust
from faust.types import AppT

from app.config.settings import Kafka
from app.stream.incarnations import Ask, Inputs


class ExactApp(faust.App):
    """A Faust app with the settings that all its Kafka clients are made from, and with its inputs."""

    def __init__(self, app_id: str, kafka: Kafka, ask: Ask, **options: Any) -> None:
        self.kafka = kafka
        self.inputs = Inputs(ask)
        super().__init__(app_id, broker=f"kafka://{kafka.broker}", **options)


def exact(app: AppT) -> ExactApp:
    """The app that a part of Faust's belongs to, as the one that `create_app` made."""
    return cast(ExactApp, app)
