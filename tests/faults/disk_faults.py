"""Faults of the local rows: damaged files, the directory of another cluster, rows that the changelog does not reach."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from faust.stores.rocksdb import RocksDBOptions

from app.stream.local_state import ASIDE, OFFSET_KEY, PROVENANCE, Provenance
from tests.faults.rig import Rig
from tests.faults.worker_faults import pause

FAR = 1_000_000  # offsets, more than a run writes


def flip(path: Path) -> None:
    """One byte in the middle becomes another."""
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)


def cut(path: Path) -> None:
    """The second half is gone."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


class Damage(NamedTuple):
    """What is done to the newest file of this kind. RocksDB can do without some: then exact counts are enough."""

    pattern: str
    inflict: Callable[[Path], None]
    is_fatal: bool = True


DAMAGES = (
    Damage("MANIFEST-*", cut),
    Damage("MANIFEST-*", empty),
    Damage("CURRENT", Path.unlink),
    Damage("*.sst", flip),
    Damage("*.sst", cut),
    Damage("*.sst", Path.unlink),
    Damage("provenance.json", cut),
    Damage("*.log", cut, is_fatal=False),
    Damage("*.log", flip, is_fatal=False),
    Damage("*.log", Path.unlink, is_fatal=False),
    Damage("OPTIONS-*", flip, is_fatal=False),
    Damage("OPTIONS-*", Path.unlink, is_fatal=False),
    Damage("IDENTITY", empty, is_fatal=False),
    Damage("IDENTITY", Path.unlink, is_fatal=False),
    Damage("LOG", cut, is_fatal=False),
    Damage("rocksdict-config.json", empty, is_fatal=False),
)


def tables_of(data_dir: Path) -> list[Path]:
    """The databases of a worker."""
    return sorted((data_dir / "v1" / "tables").glob("*.db"))


async def damaged(rig: Rig) -> None:
    """One file of each table of a killed worker is damaged, every time another one."""
    damage = DAMAGES[len(rig.moments) % len(DAMAGES)]

    def inflict(folder: Path) -> None:
        for path in sorted(folder.glob(damage.pattern))[-1:]:
            damage.inflict(path)

    if damage.pattern == "*.sst":  # RocksDB writes the first when it is opened again
        await rig.worker.kill()
        await rig.goes_on()
    await _start_with(rig, inflict, damage.is_fatal)


async def of_another_cluster_longer(rig: Rig) -> None:
    """Its changelogs go on behind ours: Faust crashes at each start."""
    await _start_with(rig, lambda folder: _foreign(folder, FAR, "another cluster"))


async def of_another_cluster_shorter(rig: Rig) -> None:
    """Its changelogs end before ours: Faust reads ours from there, and keeps its rows."""
    await _start_with(rig, lambda folder: _foreign(folder, 0, "another cluster"))


async def beyond_the_changelog(rig: Rig) -> None:
    """The changelog lost its tail, or so it seems."""
    await _start_with(rig, lambda folder: _foreign(folder, FAR, None))


async def _start_with(rig: Rig, change: Callable[[Path], None], is_fatal: bool = True) -> None:
    """Kill the worker, change each of its databases, and see that the next start uses none that may not be used."""
    await pause(rig, 0.0, 1.5)
    changed: list[Path] = []

    def meanwhile(data_dir: Path) -> None:
        for folder in tables_of(data_dir):
            before = _content(folder)
            change(folder)
            if _content(folder) != before:
                changed.append(folder)

    async with rig.fault():
        await rig.worker.kill(meanwhile=meanwhile)
    await rig.goes_on()
    kept = [folder for folder in changed if not list(folder.parent.glob(f"{folder.name}{ASIDE}*"))]
    if not changed or (kept and is_fatal):
        rig.problems.append(f"of {len(changed)} changed databases these were not set aside: {kept}")


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _foreign(folder: Path, further: int, cluster_id: str | None) -> None:
    """Other rows: none of ours, with an offset that is so much further."""
    database: Any = RocksDBOptions(use_rocksdict=True).open(folder)
    try:
        offset = database.get(OFFSET_KEY)
        if offset is None:
            return
        for key in list(database.keys()):
            database.delete(key)
        database.put(OFFSET_KEY, str(int(offset) + further).encode())
    finally:
        database.close()
    if cluster_id is not None:
        path = folder / PROVENANCE
        made_from = msgspec.json.decode(path.read_bytes(), type=Provenance)
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(made_from, cluster_id=cluster_id)))
