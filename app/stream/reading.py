"""Attaches an agent with state to an app: its inputs, its tables and the exact reader between them."""

from collections.abc import Callable
from typing import Any

from app.stream.app import ExactApp
from app.stream.exact import ExactReader, Reading
from app.stream.fence import StallFence, die
from app.stream.recovery import stop_flow_at_recovery
from app.stream.worker import source


def attach_reader(app: ExactApp, reading: Reading, fence: StallFence, end: Callable[[str], None] = die) -> None:
    """Add an agent that reads these topics into these tables; `end` is called when it cannot go on."""
    reader = ExactReader(app, reading, fence, end)
    stop_flow_at_recovery(app, reading.tables[-1], reader.take_up)

    async def read(stream: Any) -> None:
        await reader.run(stream)

    app.agent(source(app, *reading.topics), name=reading.name)(read)
