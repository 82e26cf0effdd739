"""Defects of faust-streaming 0.15.3 that we avoid by how an application is made (docs/decisions/0008).

Each test has the id of its defect. Those with a test of their own place are named in the same document.
"""

import ast
import importlib.util
from pathlib import Path
from typing import Any

import faust
import pytest
from faust.stores.rocksdb import RocksDBOptions
from faust.transport.producer import ProducerBuffer

from app.config.settings import Kafka, Settings
from app.contract import topics
from app.stream.consumer import Record
from app.stream.worker import create_app, source
from tables.store import open_table
from tests.app.stream.world import Ended, Stream, Sums, World
from tests.app.stream.world import worker as world_worker

ROOT = Path(__file__).parents[3]


@pytest.fixture
def app(tmp_path: Path) -> faust.App:
    return create_app("defects", Settings(pops=("none",), data_dir=str(tmp_path)))


def names_used() -> set[str]:
    """Every attribute and name that our own packages mention."""
    files = [path for folder in ("app", "agents", "tables") for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in nodes if isinstance(node, ast.Name)}


class Fails(Sums):
    """A bug of ours in the middle of a batch."""

    def apply_one(self, record: Record) -> None:
        if record.offset == 3:
            raise ZeroDivisionError
        super().apply_one(record)


async def test_f04_an_exception_in_an_agent_ends_the_process_before_its_event_is_acknowledged() -> None:
    world = World()
    with pytest.raises(Ended, match="ZeroDivisionError"):
        await world_worker(world, state=Fails).run(Stream(world))
    assert world.committed == 3


def test_f05_inputs_are_raw_so_that_nothing_is_undecodable(app: faust.App) -> None:
    topic: Any = source(app, "flows")
    assert (topic.key_serializer, topic.value_serializer) == ("raw", "raw")


def test_f08_f15_f19_f20_f22_f23_what_is_broken_in_faust_is_not_used() -> None:
    broken = {"tumbling", "hopping", "GlobalTable", "SetGlobalTable", "on_changelog_event", "timer", "crontab"}
    assert not names_used() & (broken | {"on_leader", "relative_to_now", "on_window_close"})


def test_f10_a_live_iterator_keeps_the_lock_of_a_database(tmp_path: Path) -> None:
    """Why rows are never iterated across an await; when this fails the defect was repaired."""
    options = RocksDBOptions(use_rocksdict=True)
    database = options.open(tmp_path / "db")
    database.put(b"a", b"1")
    iterator = database.items()
    del database
    with pytest.raises(Exception, match="lock"):
        options.open(tmp_path / "db")
    del iterator
    options.open(tmp_path / "db")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("processing_guarantee", "at_least_once"),  # F13
        ("topic_disable_leader", True),  # F17, F23
        ("stream_wait_empty", False),  # F16: a revoke waits for nobody
        ("broker_max_poll_interval", 120.0),  # F16
        ("web_enabled", False),  # F25
        ("table_standby_replicas", 0),
    ],
)
def test_f13_f16_f17_f23_f25_settings(app: faust.App, setting: str, value: object) -> None:
    found = getattr(app.conf, setting)
    assert getattr(found, "value", found) == value


def test_f17_changelogs_are_made_with_our_configuration() -> None:
    assert {"cleanup.policy": "compact", "min.compaction.lag.ms": str(24 * 3_600_000)} == topics.CHANGELOG_CONFIG


def test_a_standby_is_asked_of_faust(tmp_path: Path) -> None:
    kafka = Kafka(standby_replicas=1)
    app = create_app("standby", Settings(pops=("none",), data_dir=str(tmp_path), kafka=kafka))
    assert app.conf.table_standby_replicas == 1


def test_f24_a_request_lives_no_longer_than_a_flush_waits_for_it(app: faust.App) -> None:
    """The flush gives up first. What is sent so late is the matter of app/stream/membership.py."""
    assert Kafka().answer_s < app.conf.producer_request_timeout <= 4 * Kafka().answer_s
    assert app.conf.broker_rebalance_timeout == 4 * Kafka().answer_s, "a flush is four answers"


def test_f26_rebalances_work_without_opentracing() -> None:
    """Every test of a rebalance shows it, as long as it is not installed."""
    assert importlib.util.find_spec("opentracing") is None


async def test_f13_a_flush_that_gives_up_does_not_answer_for_the_changelog(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust commits after `producer.flush()`, which gives up after 0.1 s: so each record's own future is awaited."""
    table: Any = open_table(app, "sums")
    table.send_changelog(0, b"key", b"row")
    monkeypatch.setattr(ProducerBuffer, "state", "running")
    assert await app.producer.buffer.flush_atmost(None) == 0
    (answer,) = table.take_unanswered()
    assert not answer.done()
    assert table.take_unanswered() == [], "each is awaited once"
