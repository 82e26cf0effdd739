"""Which local rows a start believes: undamaged ones that were made from the changelog that the broker has now.

The changelog has every row that was answered for. So a directory in doubt is set aside (renamed, not deleted), and
Faust rebuilds its table from the changelog. It is never merged: Faust replays a changelog from the offset that the
directory remembers, and the rows of another cluster or of a deleted changelog would stay among the new ones.

A file in each database says what it was made from, so whoever copies one copies the other. A start reads every
database as a whole (250 MiB take 0.2 s once they are in memory), because a damaged block shows only when it is read.
"""

import fcntl
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from faust.stores.rocksdb import RocksDBOptions

from app import metrics
from app.contract.decoding import Read, Rejected, reader_of
from app.errors import EnvironmentProblem
from tables.store import TABLE_OPTIONS, whole_items

log = logging.getLogger(__name__)

DISTRIBUTION = "egress-autopilot"
PROVENANCE = "provenance.json"
ASIDE = ".set-aside-"
KEPT = 2  # of each table; they may be large
OFFSET_KEY = b"__faust\0offset__"  # where Faust keeps the offset of the last changelog record that the rows include
LOCKED = ("While lock file", "lock hold by")
DAMAGED = ("Corruption", "No such file or directory", "Input/output error")

OpenDatabase = Callable[[Path], Any]  # a rocksdict.Rdict, which is created if there is none


class Local(NamedTuple):
    """The local database of a table, and what opens it: as Faust does, and as bounded."""

    table: str
    folder: Path
    open: OpenDatabase = RocksDBOptions(**TABLE_OPTIONS, use_rocksdict=True).open


class ChangelogFound(NamedTuple):
    """The changelog of a table as the broker has it now: from offset `begin` on, and before offset `end`."""

    topic: str
    topic_id: str
    cluster_id: str
    end: int
    begin: int = 0


class Provenance(msgspec.Struct, frozen=True):
    """What a local database was made from, and by which version of the product it was opened last.

    `begins` is where the changelog began when the database was new: its rows are made from what follows.
    """

    cluster_id: str
    topic_id: str
    version: str
    begins: int = 0


class SetAside(NamedTuple):
    """Why a local database is not believed: a label of the metric, and a sentence."""

    reason: str
    text: str


class InUse(EnvironmentProblem):
    """Another process has the database open."""


class Damaged(Exception):
    """The database cannot be opened or read, and never will be; the message is RocksDB's own."""


def judge_provenance(provenance: Provenance | None, changelog: ChangelogFound) -> SetAside | None:
    """Why a database that was made from this is none of the changelog's, or None."""
    if provenance is None:
        return SetAside("unknown-origin", "it does not say which changelog it was made from")
    if provenance.cluster_id != changelog.cluster_id:
        return SetAside(
            "other-cluster", f"it was made at Kafka cluster {provenance.cluster_id}, and this is {changelog.cluster_id}"
        )
    if provenance.topic_id != changelog.topic_id:
        return SetAside("other-changelog", f"{changelog.topic} was deleted and recreated since")
    return None


def judge_offset(offset: int | None, changelog: ChangelogFound) -> SetAside | None:
    """Why a database that includes this offset of the changelog is ahead of it, or None. Faust would crash for ever."""
    if offset is None or offset < changelog.end:
        return None
    return SetAside(
        "beyond-changelog",
        f"it includes offset {offset}, but {changelog.topic} ends at {changelog.end}: the tail is lost",
    )


def first_lacking(offset: int | None, begins: int) -> int:
    """The first offset of the changelog that rows lack: made from `begins` on, they include this one (None: none)."""
    return begins if offset is None else offset + 1


def judge_beginning(offset: int | None, begins: int, changelog: ChangelogFound) -> SetAside | None:
    """Why a database that includes this offset, or was made from `begins` on, lacks records that are gone, or None.

    Faust would go on behind them without a word.
    """
    if (first := first_lacking(offset, begins)) >= changelog.begin:
        return None
    return SetAside(
        "behind-changelog",
        f"it lacks offset {first}, but {changelog.topic} begins at {changelog.begin}: the records between were removed",
    )


def believe_or_set_aside(local: Local, changelog: ChangelogFound, now_s: float) -> SetAside | None:
    """Make a table's folder ready for Faust: believed as it is, or set aside and empty. Return why it was set aside.

    InUse if another process has the database open, EnvironmentProblem if the disk or its permissions are in the way.
    """
    before = read_provenance(local.folder)
    why = _judge(local, before, changelog) if local.folder.exists() else None
    begins = changelog.begin if why is not None or before is None else before.begins
    if why is not None:
        path = set_aside(local.folder, now_s)
        metrics.STATE_SET_ASIDE.labels(local.table, why.reason).inc()
        reason = f"{why.text}; it is set aside as {path}, and rebuilt from {changelog.topic}"
        log.error("%s: the local state is not used: %s", local.table, reason)
    made_from = Provenance(changelog.cluster_id, changelog.topic_id, version(DISTRIBUTION), begins)
    _write_provenance(local.folder, made_from)
    return why


def _judge(local: Local, before: Provenance | None, changelog: ChangelogFound) -> SetAside | None:
    if is_in_use(local.folder):
        raise InUse(
            f"{local.folder}: another process has it open; give a second worker of this host its own --instance"
        )
    why = judge_provenance(before, changelog)
    if before is None or why is not None:
        return why
    try:
        offset = read_whole(local)
    except Damaged as error:
        return SetAside("damaged", f"it is damaged: {error}")
    return judge_offset(offset, changelog) or judge_beginning(offset, before.begins, changelog)


def read_whole(local: Local) -> int | None:
    """Read every block of a database, and return the changelog offset that it includes (None: none).

    Damaged if that cannot be done, InUse or EnvironmentProblem if it might be done later.
    """
    try:
        database = local.open(local.folder)
        try:
            deque(whole_items(database), maxlen=0)
            offset = database.get(OFFSET_KEY)
        finally:
            database.close()
    except Exception as error:  # rocksdict raises no other kind
        text = " ".join(str(error).split())
        if any(part in text for part in LOCKED):
            raise InUse(f"{local.folder}: another process has it open") from error
        if is_damage(error):
            raise Damaged(text) from error
        raise EnvironmentProblem(f"{local.folder}: cannot be read: {text}; see the disk and its permissions") from error
    return None if offset is None else int(offset)


def is_damage(error: BaseException) -> bool:
    """Whether RocksDB says that the files of a database are damaged or missing; a full disk is no damage."""
    return any(part in str(error) for part in DAMAGED)


def is_in_use(folder: Path) -> bool:
    """Whether another process has this database open."""
    try:
        with (folder / "LOCK").open("r+b") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise _cannot(folder, error) from error
    return False


def set_aside(folder: Path, now_s: float) -> Path:
    """Rename a table's folder, delete all but the last KEPT of those that were set aside, and return the new path."""
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%S.%f")
    target = folder.with_name(f"{folder.name}{ASIDE}{stamp}")
    try:
        folder.rename(target)
        for old in sorted(folder.parent.glob(f"{folder.name}{ASIDE}*"))[:-KEPT]:
            shutil.rmtree(old)
    except OSError as error:
        raise _cannot(folder, error) from error
    return target


def folder_of(tables_dir: Path, table: str) -> Path:
    """The database of a table, where Faust opens it."""
    return tables_dir / f"{table}-0.db"


def databases(data_dir: Path, app_id: str) -> list[Path]:
    """The folders of an app's tables that Faust would open, sorted; those that were set aside are not among them."""
    return sorted(path for path in (data_dir / app_id / "v1" / "tables").glob("*.db") if path.is_dir())


def reset_command(app_id: str) -> str:
    """The command that sets the local state of this app aside."""
    process, _, cell = app_id.removeprefix("autopilot-").partition("-")
    return f"autopilot state reset --process {process} --cell {cell}"


_provenance: Read[Provenance] = reader_of(Provenance)


def read_provenance(folder: Path) -> Provenance | None:
    """What a database was made from; None if nothing says it."""
    try:
        found = _provenance((folder / PROVENANCE).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _cannot(folder, error) from error
    return None if isinstance(found, Rejected) else found


def disown(folder: Path) -> None:
    """Have the next start set a database aside, because it does not say any more what it was made from."""
    try:
        (folder / PROVENANCE).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(folder, error) from error


def _write_provenance(folder: Path, provenance: Provenance) -> None:
    """Write what a database is made from, before the first row of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{PROVENANCE}.new"
        with new.open("wb") as file:
            file.write(msgspec.json.encode(provenance))
            file.flush()
            os.fsync(file.fileno())
        new.replace(folder / PROVENANCE)
    except OSError as error:
        raise _cannot(folder, error) from error


def _cannot(folder: Path, error: OSError) -> EnvironmentProblem:
    reason = (error.strerror or "unknown reason").lower()
    return EnvironmentProblem(f"{folder}: cannot be changed: {reason}; see the disk and its permissions")
