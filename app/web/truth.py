"""Reads the simulator's truth, drawn beside the estimate: JSON lines that the demo writes, one a second."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.contract.decoding import Read, Rejected, reader_of
from app.web.documents import TruthPoint

POLL_S = 0.5

log = logging.getLogger(__name__)


class TruthLine(msgspec.Struct, frozen=True):
    """One second of the truth about every link of one PoP."""

    pop: str
    links: dict[str, TruthPoint]


_read: Read[TruthLine] = reader_of(TruthLine)


class TruthReader:
    """Follows a file of truth lines that may not exist yet and only grows."""

    def __init__(self, path: Path, take: Callable[[TruthLine], None]) -> None:
        self._path = path
        self._take = take
        self._read_bytes = 0

    async def run(self) -> None:
        """Read new lines every POLL_S seconds until cancelled."""
        while True:
            self.read()
            await asyncio.sleep(POLL_S)

    def read(self) -> None:
        """Pass on the lines that were completed since the last call; log and skip those that cannot be read."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        for line in whole.splitlines():
            second = _read(line)
            if isinstance(second, Rejected):
                log.error("%s: skipped a line that cannot be read: %s", self._path, second.reason)
            else:
                self._take(second)
