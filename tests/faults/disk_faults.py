"""Faults of the local rows: damaged files, the directory of another cluster, rows that the changelog does not reach."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from faust.stores.rocksdb import RocksDBOptions

from app.stream.local_state import ASIDE, OFFSET_KEY, PROVENANCE, Provenance
from tests.faults.rig import Rig
from tests.faults.worker_faults import pause

FAR = 1_000_000  # offsets, more than a run writes


def flip(path: Path) -> None:
    """One byte in the middle becomes another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def cut(path: Path) -> None:
    """The second half is gone."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = (
    ("MANIFEST-*", cut),
    ("MANIFEST-*", empty),
    ("CURRENT", Path.unlink),
    ("*.sst", flip),
    ("*.sst", cut),
    ("*.sst", Path.unlink),
)


def tables_of(data_dir: Path) -> list[Path]:
    """The databases of a worker."""
    return sorted((data_dir / "v1" / "tables").glob("*.db"))


async def damaged(rig: Rig) -> None:
    """One file of each table of a killed worker is damaged, every time another one."""
    pattern, damage = DAMAGES[len(rig.moments) % len(DAMAGES)]

    def inflict(folder: Path) -> None:
        for path in sorted(folder.glob(pattern))[:1]:
            damage(path)

    if pattern == "*.sst":  # RocksDB writes the first when it is opened again
        await rig.worker.kill()
        await rig.goes_on()
    await _start_with(rig, inflict)


async def of_another_cluster_longer(rig: Rig) -> None:
    """Its changelogs go on behind ours: Faust crashes at each start."""
    await _start_with(rig, lambda folder: _foreign(folder, FAR, "another cluster"))


async def of_another_cluster_shorter(rig: Rig) -> None:
    """Its changelogs end before ours: Faust reads ours from there, and keeps its rows."""
    await _start_with(rig, lambda folder: _foreign(folder, 0, "another cluster"))


async def beyond_the_changelog(rig: Rig) -> None:
    """The changelog lost its tail, or so it seems."""
    await _start_with(rig, lambda folder: _foreign(folder, FAR, None))


async def _start_with(rig: Rig, change: Callable[[Path], None]) -> None:
    """Kill the worker, change each of its databases, and see that the next start uses none that was changed."""
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
    if kept or not changed:
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
