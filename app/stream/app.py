"""The Faust app of our workers, which also knows how to reach its broker and which incarnations its inputs have."""

from typing import Any, cast

import faust
from faust.types import AppT

from app.config.settings import Kafka
from app.stream.incarnations import Ask, Inputs


class ExactApp(faust.App):
    """A Faust app that carries the settings of its Kafka clients and the state of its input topics."""

    def __init__(self, app_id: str, kafka: Kafka, ask: Ask, **options: Any) -> None:
        self.kafka = kafka
        self.inputs = Inputs(ask)
        super().__init__(app_id, broker=f"kafka://{kafka.broker}", **options)


def exact(app: AppT) -> ExactApp:
    """The app of a Faust component as an ExactApp; `create_app` makes no other kind."""
    return cast(ExactApp, app)
