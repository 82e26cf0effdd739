"""A planted violation of the protocol, which the suite must catch: acknowledge first, write rows later, and believe it.

Rows alone would show what they lack, and a start would read it again.
"""

import sys
from typing import Any
from unittest.mock import patch

from app.cli.main import main
from app.stream import reading
from app.stream.exact import LOOK_EVERY_S, ExactReader

WRITE_EVERY = 150  # batches, some seconds
IDLE_S = 4.0  # longer than any pause of the feed


class EarlyAck(ExactReader):
    """The commit passes what no row holds yet; without a fault nobody notices."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        incarnations: Any = self._incarnations
        incarnations.set_checkpoints = lambda positions: None
        self._unwritten: list[Any] = []
        self._idle = 0  # flushes in a row without anything new: the ticker's

    async def _flush(self) -> None:
        held, self._held = self._held, []
        for event in held:
            await self._events.ack(event)
        self._unwritten += held
        self._idle = 0 if held else self._idle + 1
        if self._unwritten and (self._idle * LOOK_EVERY_S > IDLE_S or len(self._unwritten) >= WRITE_EVERY):
            unwritten, self._unwritten = self._unwritten, []
            await self._write(unwritten[-1])


if __name__ == "__main__":
    with patch.object(reading, "ExactReader", EarlyAck):
        main(["telemetry", *sys.argv[1:]])
