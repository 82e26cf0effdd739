"""The private names of other libraries stand in app/private_names.py, and the installed versions have each of them."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import aiokafka.client
import faust.streams
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from faust.stores.rocksdb import Store
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer

from app import private_names
from tests.test_tidy import PACKAGES, module_of, sources

THEIRS = ("aiokafka", "faust", "mode", "rocksdict")
OF_PYTHON = {"_replace", "_asdict", "_fields", "_exit", "_set_running_loop"}
OF_ITS_EVENT_LOOP = {"_clock_resolution", "_ready", "_run_once", "_scheduled", "_selector", "_when"}
NAMES: dict[object, tuple[str, ...]] = {
    AIOKafkaAdminClient: ("_client", "_send_request", "_send_request_to_node"),
    AIOKafkaConsumer: ("_client", "_check_crcs", "_coordinator", "_fetcher"),
    AIOKafkaProducer: ("_sender",),
    Fetcher: ("_fetch_max_wait_ms", "_pending_tasks", "_proc_fetch_request", "_records"),
    FetchResult: ("_partition_records",),
    GroupCoordinator: ("_do_heartbeat", "_do_rejoin_group", "reset_generation"),
    MessageBatch: ("_ctime",),
    PartitionRecords: (
        *("_aborted_producers", "_check_crcs", "_consume_aborted_up_to", "_contains_abort_marker"),
        *("_isolation_level", "_records", "_records_iterator", "_tp", "next_fetch_offset"),
    ),
    Sender: ("_in_flight", "_muted_partitions", "_send_produce_req", "sender_task"),
    SendProduceReqHandler: ("do",),
    aiokafka.client: ("create_conn",),
    fetcher: ("MemoryRecords",),
    AIOKafkaConsumerThread: ("_assignor", "_create_consumer", "_ensure_consumer"),
    Consumer: (
        *("_add_gap", "_buffered_partitions", "_committed_offset", "_gap", "_getmany", "_is_changelog_tp"),
        *("_new_consumer_thread", "_thread", "_to_message", "_wait_next_records"),
    ),
    Producer: ("_new_producer", "_settings_default"),
    Recovery: ("_build_offsets", "_wait"),
    Store: ("_db_for_partition", "_visible_items", "_visible_keys"),
    TableManager: ("_recovery",),
    faust.streams: ("_current_event",),
}
# How they use what we override, replace or set: else ours would never be asked.
USES: list[tuple[object, str]] = [
    (AIOKafkaConsumerThread.on_start, "self._create_consumer(loop="),
    (Consumer.__init__, "self._new_consumer_thread()"),
    (Consumer, "await self._add_gap("),
    (Consumer, "await self._getmany("),
    (FetchResult._update_position, "self._partition_records.next_fetch_offset"),
    (FetchResult.getall, "for msg in self._partition_records:"),
    (Fetcher, "self._fetch_max_wait_ms,"),
    (Fetcher, "self._proc_fetch_request(assignment, node_id, request)"),
    (Fetcher._proc_fetch_request, "records = MemoryRecords(part_data[-1])"),
    (Fetcher._proc_fetch_request, "self._records[tp] = FetchResult("),
    (GroupCoordinator, "await self._do_heartbeat()"),
    (GroupCoordinator, "await self._do_rejoin_group("),
    (Producer.on_start, "self._new_producer()"),
    (Recovery, "await self._wait("),
    (Recovery, "(self._build_offsets)("),
    (Sender, "self._send_produce_req("),
    (Store, "self._visible_items(db)"),
    (TableManager, "self._recovery.stop()"),
    (aiokafka.client, "await create_conn("),
]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def has(owner: object, name: str) -> bool:
    """Whether a class or a module has this name, or its instances: as far as its source, or that of a base, sets it."""
    of = inspect.getmro(owner) if isinstance(owner, type) else ()
    return hasattr(owner, name) or any(re.search(rf"\bself\.{name}\b[^=\n]* = ", _source(each)) for each in of)


@cache
def _source(owner: Any) -> str:
    try:
        return inspect.getsource(owner)
    except (OSError, TypeError):  # of C
        return ""


def private_names_in(tree: ast.AST, everywhere: bool = False) -> Iterator[str]:
    """Private names of others in a source; with `everywhere` those of `self` and the methods of classes, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if is_private(node.attr) and (everywhere or not of_itself):
                yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(THEIRS):
            yield from (alias.name for alias in node.names if is_private(alias.name))
        elif everywhere and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_private(node.name):
            yield node.name


def shared(kind: type) -> set[str]:
    """The private names of a class of ours that a library's class among its bases has, too."""
    theirs = [base for base in kind.__mro__ if base.__module__.startswith(THEIRS)]
    source = inspect.cleandoc("\n" + _source(kind)) if theirs else ""
    names = set(private_names_in(ast.parse(source), everywhere=True))
    return {name for name in names if any(has(base, name) for base in theirs)}


THEIR_NAMES = {name for names in NAMES.values() for name in names}
OTHERS = [path for path in sources(*PACKAGES) if module_of(path) != private_names.__name__]


@pytest.mark.parametrize(
    ("owner", "name"),
    [(owner, name) for owner, names in NAMES.items() for name in names],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_the_installed_version_has(owner: object, name: str) -> None:
    assert has(owner, name), f"{owner} has no {name} any more: see what app/private_names.py needs it for"


@pytest.mark.parametrize(("where", "use"), USES)
def test_the_installed_version_uses(where: Any, use: str) -> None:
    of = inspect.getmro(where) if isinstance(where, type) else (where,)
    assert any(use in _source(each) for each in of), f"{where} has no `{use}` any more"


def test_each_name_is_in_the_table() -> None:
    tree = ast.parse(Path(private_names.__file__).read_text())
    used = set(private_names_in(tree, everywhere=True)) - {"_theirs"}
    assert used == {name for name in THEIR_NAMES if is_private(name)}


@pytest.mark.parametrize("path", OTHERS, ids=module_of)
def test_no_other_file_uses_one(path: Path) -> None:
    source = path.read_text()
    its_own = {*re.findall(r"\bself\.(_\w+)\b[^=\n]* = ", source)} - THEIR_NAMES
    of_python = OF_PYTHON | OF_ITS_EVENT_LOOP if module_of(path) == "app.simulation.loop" else OF_PYTHON
    assert set(private_names_in(ast.parse(source))) - its_own - of_python == set(), "put them into app/private_names.py"


@pytest.mark.parametrize("path", OTHERS, ids=module_of)
def test_no_class_of_ours_shares_one_with_a_base_of_theirs(path: Path) -> None:
    module = importlib.import_module(module_of(path))
    kinds = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    assert {name for kind in kinds for name in shared(kind)} == set()


def test_the_checks_can_fail() -> None:
    assert not has(Fetcher, "_fetch_max_weight_ms")
    assert [*private_names_in(ast.parse("from faust.streams import _current_event\nconsumer._fetcher"))] == [
        "_current_event",
        "_fetcher",
    ]

    class Batches(Consumer):
        async def _add_gap(self, tp: object, offset_from: int, offset_to: int) -> None:
            self._mine = self._gap

    assert shared(Batches) == {"_add_gap", "_gap"}
