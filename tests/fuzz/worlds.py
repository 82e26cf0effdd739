"""The real readers on topics and tables in memory: telemetry, the actuator, the page, the command line."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import msgspec
from click.testing import CliRunner
from faust.types import TP
from rich.console import Console

from app import telemetry
from app.cli.main import main
from app.cli.watch import Screen
from app.clock import ManualClock
from app.config.settings import Settings, load
from app.contract import topics
from app.stream.app import ExactApp
from app.stream.consumer import Record
from app.stream.exact import Reading
from app.stream.incarnations import Found, Inputs
from app.telemetry import TelemetryPorts
from app.view import View
from app.web.last_seen import LastSeen
from app.web.pages import encode_update
from tests.fuzz.corpus import NOW_S, POP, flows, moved_on
from tests.fuzz.memory_kafka import MemoryTopics
from tests.pops import INVENTORY, demo_pop
from tests.tables.memory import memory_table

SETTINGS = Settings(pops=(POP,), mode="auto")
COMMANDS = (["links"], ["overrides"], ["congestion"], ["latency"], ["explain", "latest"])
PASSES_S = 0.05  # with each record
LOOK_AFTER = 5  # records that the page takes before somebody looks at it


def fake_app() -> ExactApp:
    """As much of a Faust app as the agents use; what they publish goes nowhere."""

    async def ask(topic: str) -> Found:
        return Found("one")

    async def send(**_: object) -> None: ...

    app = SimpleNamespace(
        topic=lambda name: SimpleNamespace(send=send),
        inputs=Inputs(ask),
        consumer=SimpleNamespace(_committed_offset={}),
        end=lambda topic: None,
        readers=[],
    )
    return cast(ExactApp, app)


class Telemetry:
    """All agents of one PoP. Time passes with the records, and windows close."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_S)
        self.readings: dict[str, Reading] = {}
        self._next: dict[str, int] = {}
        ports = TelemetryPorts(fake_app(), self.clock, memory_table, self._read)
        self.cell = telemetry.assemble({POP: demo_pop()}, SETTINGS, ports)
        for reading in self.readings.values():
            reading.state.load()
        self._markers = [value for value in flows() if b"purge_" in value]

    def _read(self, reading: Reading) -> None:
        self.readings |= dict.fromkeys(reading.topics, reading)

    def take(self, topic: str, values: Sequence[bytes]) -> None:
        """Apply records as after a fetch, and do what a flush does."""
        self.clock.advance(PASSES_S * len(values))
        state, first = self.readings[topic].state, self._next.get(topic, 0)
        self._next[topic] = first + len(values)
        now_s = self.clock.now_s()
        moved = [moved_on(value, now_s, first + n) for n, value in enumerate(values)]
        records = [Record(first + n, now_s, None, value) for n, value in enumerate(moved)]
        state.apply(TP(topic, 0), records)
        state.write_rows()
        state.publications()
        state.write_progress()

    def close_windows(self) -> None:
        """A purge that begins and ends: everything before it is complete."""
        self.take(topics.FLOWS.for_pop(POP), self._markers)


@contextmanager
def configured() -> Iterator[Path]:
    """A settings file of the demo's PoP; nobody listens at its broker."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pop.toml").write_text(INVENTORY.read_text())
        (folder / "autopilot.toml").write_text('pops = ["pop.toml"]\n[kafka]\nbroker = "127.0.0.1:1"\n')
        yield folder / "autopilot.toml"


class Readers:
    """The page and the command line over topics in memory."""

    def __init__(self) -> None:
        with configured() as config:
            deployment = load(config, {})
        self.clock = ManualClock(NOW_S)
        self._view = View(deployment, self.clock)
        last = {name: LastSeen(deployment.settings.windows.length_s) for name in deployment.pops}
        links = [link for pop in deployment.pops.values() for link in pop.links]
        self._screen = Screen(deployment, last, dict.fromkeys(links), self.clock)
        self._offset = 0

    def page(self, topic: str, values: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What the page does with these records, and with whoever looks at it then."""
        for number, (key, value) in enumerate(values, 1):
            self._offset += 1
            self._view._reader._take(topic, self._offset, key, self._moved(value), self.clock.now_s())
            if number % LOOK_AFTER == 0 or number == len(values):
                self._look()

    def _look(self) -> None:
        now_s = self.clock.now_s()
        for model in self._view._models.values():
            encode_update(model.changes(now_s))
            encode_update(model.snapshot(now_s))
            msgspec.json.encode([model.state(now_s), model.links(now_s), model.overrides(), model.decisions()])

    def _moved(self, value: bytes | None) -> bytes | None:
        self.clock.advance(PASSES_S)
        return None if value is None else moved_on(value, self.clock.now_s(), self._offset)

    def screen(self, topic: str, values: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What `watch` does with these records."""
        for key, value in values:
            self._screen.take(topic, key, self._moved(value), self.clock.now_s())
        console = Console(width=100, record=False, file=open("/dev/null", "w"))  # noqa: SIM115
        with console.file:
            console.print(self._screen.view())

    def commands(self, records: Sequence[tuple[str, bytes | None, bytes | None]]) -> None:
        """Every command that reads topics, over these records (topic, key, value); none may end in a traceback."""
        memory = MemoryTopics(topics.named([POP]))
        for topic, key, value in records:
            memory.add(topic, key, value, self.clock.now_s())
        with configured() as config, mock.patch("app.kafka.client.consumer", memory.consumer):
            for command in COMMANDS:
                for form in ([], ["--json"]):
                    result = CliRunner().invoke(main, [*command, *form, "--config", str(config)])
                    if result.exception is not None and not isinstance(result.exception, SystemExit):
                        raise result.exception


def fresh(make: Callable[[], Any], every: int) -> Callable[[], Any]:
    """A world that is made again after it was asked for so many times: what it remembers is bounded by that."""
    state: dict[str, Any] = {"left": 0}

    def current() -> Any:
        if state["left"] <= 0:
            state.update(world=make(), left=every)
        state["left"] -= 1
        return state["world"]

    return current
