"""The vty socket of an FRR daemon, which vtysh speaks as well."""

import asyncio
from pathlib import Path
from typing import Final

from app.errors import SpeakerError

END_OF_ANSWER: Final = b"\0\0\0"  # then one byte, the command's return code
ANSWER_BYTES_MAX: Final = 64 << 20


async def ask(socket: Path, command: str, timeout_s: float = 2.0) -> bytes:
    """The daemon's answer to one command of the enable node; SpeakerError when it refuses or cannot be reached.

    Each command has its own connection: answers carry no name, so nobody else's may be on it.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(socket, limit=ANSWER_BYTES_MAX)
            try:
                writer.write(f"enable\0{command}\0".encode())
                await _answer(reader)
                answer, code = await _answer(reader)
            finally:
                writer.close()
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:  # a timeout is an OSError
        raise SpeakerError(f"{socket}: no answer to `{command}`: {error!r}; is the daemon running?") from error
    if code:
        raise SpeakerError(f"{socket}: `{command}` refused with code {code}: {answer.decode(errors='replace')}")
    return answer


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    answer = await reader.readuntil(END_OF_ANSWER)
    return answer.removesuffix(END_OF_ANSWER), (await reader.readexactly(1))[0]
