"""Local rows that are believed and such that are set aside, on a real RocksDB: no Kafka is needed."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app import metrics
from app.config.settings import Settings
from app.errors import EnvironmentProblem
from app.stream import startup
from app.stream.local_state import (
    ASIDE,
    KEPT,
    OFFSET_KEY,
    ChangelogFound,
    InUse,
    Local,
    Provenance,
    believe_or_set_aside,
    databases,
    disown,
    is_in_use,
    judge_beginning,
    judge_offset,
    judge_provenance,
    read_provenance,
    set_aside,
)
from app.stream.startup import patiently
from app.stream.worker import create_app
from tables.store import open_table

HERE = ChangelogFound("app-sums-changelog", "first", "lab", end=43)
ROWS = {b"row %02d" % number: random.Random(number).randbytes(3000) for number in range(40)}
NEW_ROWS = {b"row 00": b"new"}
HOLD = """
import sys
from pathlib import Path
from faust.stores.rocksdb import RocksDBOptions
database = RocksDBOptions(use_rocksdict=True).open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def local(folder: Path) -> Local:
    return Local("sums", folder / "sums-0.db")


def begin(at: Local, changelog: ChangelogFound = HERE) -> str | None:
    """What a start says of the directory: the reason for which it is set aside."""
    why = believe_or_set_aside(at, changelog, 1_000_000_000.5)
    return why.reason if why else None


def write(at: Local, rows: dict[bytes, bytes], offset: int) -> Any:
    """Write as Faust does; the database stays open."""
    database = at.open(at.folder)
    for key, row in rows.items():
        database.put(key, row)
    database.put(OFFSET_KEY, str(offset).encode())
    return database


def content(at: Local) -> tuple[dict[bytes, bytes], int | None]:
    """The rows and the offset, as Faust would find them."""
    database = at.open(at.folder)
    try:
        rows = dict(database.items())
    finally:
        database.close()
    offset = rows.pop(OFFSET_KEY, None)
    return rows, None if offset is None else int(offset)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SIGKILL leaves of a worker: rows in a file of the first life, in the log those of the second."""
    at = local(tmp_path_factory.mktemp("living"))
    begin(at)
    write(at, ROWS, 41).close()
    living = write(at, NEW_ROWS, 42)
    left = tmp_path_factory.mktemp("killed")
    shutil.copytree(at.folder, left / at.folder.name)
    living.close()
    return left


@pytest.fixture
def at(killed: Path, tmp_path: Path) -> Local:
    """A copy that a test may damage."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return local(tmp_path)


def aside(at: Local) -> list[Path]:
    return sorted(at.folder.parent.glob(f"*{ASIDE}*"))


def test_rows_of_this_changelog_are_believed(at: Local) -> None:
    assert begin(at) is None
    assert content(at) == (ROWS | NEW_ROWS, 42)
    assert begin(at) is None
    assert aside(at) == []


def test_a_new_directory_says_what_it_is_made_from(tmp_path: Path) -> None:
    at = local(tmp_path)
    assert begin(at) is None
    found = read_provenance(at.folder)
    assert found is not None
    assert (found.cluster_id, found.topic_id) == ("lab", "first")
    assert found.version
    assert content(at) == ({}, None)


@pytest.mark.parametrize(
    ("changelog", "reason"),
    [
        (HERE._replace(cluster_id="clone"), "other-cluster"),
        (HERE._replace(cluster_id="clone", end=10_000), "other-cluster"),
        (HERE._replace(topic_id="second", end=10_000), "other-changelog"),
        (HERE._replace(topic_id="second", end=0), "other-changelog"),
        (HERE._replace(end=42), "beyond-changelog"),
        (HERE._replace(end=0), "beyond-changelog"),
        (HERE._replace(begin=44, end=50), "behind-changelog"),
    ],
)
def test_rows_of_another_changelog_are_never_merged(at: Local, changelog: ChangelogFound, reason: str) -> None:
    """Longer or shorter there: the next start reads the whole changelog into an empty directory, and believes it."""
    assert begin(at, changelog) == reason
    assert content(at) == ({}, None)
    assert begin(at, changelog) is None
    (kept,) = aside(at)
    assert content(at._replace(folder=kept)) == (ROWS | NEW_ROWS, 42), "it is renamed, and nothing in it is lost"


def begins(at: Local) -> int | None:
    """From where in the changelog the rows were made, as the directory says."""
    found = read_provenance(at.folder)
    return None if found is None else found.begins


def test_a_directory_says_from_where_its_rows_were_made(at: Local, tmp_path: Path) -> None:
    """As long as it is believed: what was removed since is in its rows."""
    assert begins(at) == 0
    assert begin(at, HERE._replace(begin=43)) is None
    assert begins(at) == 0
    gone = HERE._replace(begin=60, end=70)
    assert begin(at, gone) == "behind-changelog"
    assert begins(at) == 60
    new = Local("sums", tmp_path / "new-0.db")
    assert begin(new, gone) is None
    assert begins(new) == 60
    assert begin(new, gone._replace(begin=61)) == "behind-changelog", "what it has yet to read is gone"
    assert begins(new) == 61


def test_a_directory_of_an_earlier_version_was_made_from_all(at: Local) -> None:
    (at.folder / "provenance.json").write_text('{"cluster_id": "lab", "topic_id": "first", "version": "0.1"}')
    assert begin(at, HERE._replace(begin=40)) is None
    assert begins(at) == 0


def test_a_directory_that_was_disowned_is_set_aside(at: Local) -> None:
    disown(at.folder)
    assert begin(at) == "unknown-origin"


@pytest.mark.parametrize("written", [None, b"", b"{", b'{"cluster_id": "lab"}'])
def test_a_directory_that_does_not_say_whose_it_is_is_not_believed(at: Local, written: bytes | None) -> None:
    (at.folder / "provenance.json").unlink()
    if written is not None:
        (at.folder / "provenance.json").write_bytes(written)
    assert begin(at) == "unknown-origin"
    assert begin(at) is None


def flip(path: Path, back: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if back is None else -back] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def the(pattern: str, damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """The damage of every file of a database that the pattern names; there must be one."""

    def inflict(folder: Path) -> None:
        paths = sorted(folder.glob(pattern))
        assert paths
        for path in paths:
            damage(path)

    return inflict


DAMAGES = {
    "manifest cut": the("MANIFEST*", cut),
    "manifest flipped": the("MANIFEST*", flip),
    "manifest empty": the("MANIFEST*", empty),
    "manifest gone": the("MANIFEST*", Path.unlink),
    "current empty": the("CURRENT", empty),
    "current gone": the("CURRENT", Path.unlink),
    "table flipped in its rows": the("*.sst", flip),
    "table flipped in its index": the("*.sst", lambda path: flip(path, 300)),
    "table flipped at its end": the("*.sst", lambda path: flip(path, 10)),
    "table cut": the("*.sst", cut),
    "table empty": the("*.sst", empty),
    "table gone": the("*.sst", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_database_is_set_aside_and_counted(at: Local, damage: Callable[[Path], None], caplog: Any) -> None:
    damage(at.folder)
    counter = metrics.STATE_SET_ASIDE.labels("sums", "damaged")
    before = counter._value.get()
    assert begin(at) == "damaged"
    assert counter._value.get() == before + 1
    assert caplog.messages[-1].startswith("sums: the local state is not used: it is damaged: ")
    assert caplog.messages[-1].endswith(f"; it is set aside as {aside(at)[0]}, and rebuilt from app-sums-changelog")
    assert content(at) == ({}, None)
    assert begin(at) is None


@pytest.mark.parametrize("damage", [flip, cut, empty, Path.unlink])
def test_a_damaged_log_leaves_the_rows_of_an_earlier_offset(at: Local, damage: Callable[[Path], None]) -> None:
    """RocksDB replays its log up to the damage; Faust replays the changelog from the offset that is left."""
    the("*.log", damage)(at.folder)
    assert begin(at) is None
    rows, offset = content(at)
    assert offset == 41
    assert rows in (ROWS, ROWS | NEW_ROWS), "a row may be ahead of the offset: its record is replayed"


def test_only_the_last_are_kept(at: Local) -> None:
    made = []
    for second in range(KEPT + 2):
        made.append(set_aside(at.folder, float(second)))
        at.folder.mkdir()
    assert aside(at) == made[-KEPT:]


def test_databases_are_where_faust_has_them(tmp_path: Path) -> None:
    app = create_app("autopilot-telemetry-ams", Settings(pops=("none",), data_dir=str(tmp_path)))
    store: Any = open_table(app, "sums").data
    at = local(app.conf.tabledir)
    assert at.folder == store.partition_path(0)
    begin(at)
    set_aside(at.folder, 1.0)
    begin(at)
    assert databases(tmp_path, "autopilot-telemetry-ams") == [at.folder]


def test_a_table_belongs_to_the_loop_that_runs_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that was made in the loop of the preparation, which is closed then, crashed the worker."""
    app = create_app("autopilot-telemetry-ams", Settings(pops=("none",), data_dir=str(tmp_path)))
    table: Any = open_table(app, "sums")

    async def changelogs(_: Any) -> dict[str, ChangelogFound]:
        return {table.changelog_topic_name: HERE}

    monkeypatch.setattr(startup, "found_changelogs", changelogs)
    asyncio.run(startup.check_local_state(app))
    (folder,) = databases(tmp_path, "autopilot-telemetry-ams")
    assert read_provenance(folder) is not None
    assert table._data is None


@contextmanager
def held(at: Local) -> Iterator[None]:
    """Another process has the database open."""
    arguments = [sys.executable, "-c", HOLD, str(at.folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.stdin.close()
        process.wait()


def test_a_database_that_another_process_has_open_is_left_alone(at: Local) -> None:
    with held(at):
        assert is_in_use(at.folder)
        for changelog in (HERE, HERE._replace(cluster_id="clone")):
            with pytest.raises(InUse, match="another process has it open"):
                begin(at, changelog)
    assert aside(at) == []
    assert begin(at) is None


@pytest.mark.parametrize(
    "text", ["IO error: No space left on device: While appending to file", "IO error: Too many open files"]
)
def test_a_disk_that_is_full_damages_nothing(at: Local, text: str) -> None:
    def fail(folder: Path) -> None:
        raise Exception(text)

    with pytest.raises(EnvironmentProblem, match=text):
        begin(at._replace(open=fail))
    assert aside(at) == []


def test_the_judgement() -> None:
    assert judge_provenance(Provenance("lab", "first", "0.1"), HERE) is None
    assert judge_offset(None, HERE) is None
    assert judge_offset(42, HERE) is None
    why = judge_offset(43, HERE)
    assert why is not None
    assert why.text == "it includes offset 43, but app-sums-changelog ends at 43: the tail is lost"
    removed = HERE._replace(begin=10)
    assert judge_beginning(9, 0, removed) is None
    assert judge_beginning(None, 10, removed) is None
    assert judge_beginning(None, 9, removed) is not None
    why = judge_beginning(8, 0, removed)
    assert why is not None
    expected = "it lacks offset 9, but app-sums-changelog begins at 10: the records between were removed"
    assert why.text == expected


async def test_a_start_waits_for_a_worker_that_ends_at_the_same_moment() -> None:
    tries = 0

    def look() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise InUse("sums-0.db: another process has it open")
        return "believed"

    assert await patiently(look, tries=3, every_s=0.0) == "believed"
    tries = -9
    with pytest.raises(InUse):
        await patiently(look, tries=3, every_s=0.0)
