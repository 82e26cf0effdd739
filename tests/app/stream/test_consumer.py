"""The private names of Faust 0.15.3 that we lean on, and the batches made with them."""

import inspect
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, cast

from faust.streams import _current_event
from faust.transport.consumer import Consumer
from faust.types import TP

from app.stream.consumer import BatchConsumer, Record


def test_the_pinned_faust_has_what_we_override() -> None:
    assert version("faust-streaming") == "0.15.3"
    assert list(inspect.signature(Consumer.getmany).parameters) == ["self", "timeout"]
    assert inspect.isasyncgenfunction(BatchConsumer.getmany)
    for name in ("_wait_next_records", "_to_message", "_is_changelog_tp"):
        assert callable(getattr(Consumer, name))
    source = inspect.getsource(Consumer.__init__)
    assert "_committed_offset" in source
    assert "_buffered_partitions" in source
    assert _current_event.name == "current_event"


def fake(changelog: bool) -> Any:
    return SimpleNamespace(
        _is_changelog_tp=lambda tp: changelog,
        _to_message=lambda tp, record: SimpleNamespace(offset=record.offset, value=record.value),
    )


RAW = [
    SimpleNamespace(offset=offset, timestamp=1500, key=b"k", value=value) for offset, value in ((4, b"a"), (5, None))
]


def messages(changelog: bool, raw: list[Any]) -> list[Any]:
    return BatchConsumer._messages(cast(BatchConsumer, fake(changelog)), TP("t", 0), raw)


def test_a_source_batch_is_one_message_with_the_last_offset() -> None:
    (message,) = messages(False, RAW)
    assert message.offset == 5
    assert message.value == [Record(4, 1.5, b"k", b"a"), Record(5, 1.5, b"k", b"")]


def test_changelogs_stay_single_and_nothing_stays_nothing() -> None:
    assert [message.offset for message in messages(True, RAW)] == [4, 5]
    assert messages(False, []) == []
