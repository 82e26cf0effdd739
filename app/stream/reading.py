"""How an agent with state is put on an app: its inputs, its tables and the exact reader between them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.stream.app import ExactApp
from app.stream.exact import ExactReader, State
from app.stream.fence import StallFence, die
from app.stream.incarnations import Makings
from app.stream.recovery import stop_flow_at_recovery
from app.stream.worker import source
from tables.store import ExactTable


def attach_reader(
    app: ExactApp,
    name: str,
    state: State,
    topics: Sequence[str],
    tables: Sequence[ExactTable],
    fence: StallFence,
    whole_to: Callable[[], Mapping[str, int]] = dict,
) -> None:
    """One agent that reads these topics; the last of its tables holds the progress."""
    reader = ExactReader(app, state, tables, Makings(app.inputs, topics, tables), fence, die, whole_to)
    stop_flow_at_recovery(app, tables[-1], reader.take_up)

    async def read(stream: Any) -> None:
        await reader.run(stream)

    app.agent(source(app, *topics), name=name)(read)
