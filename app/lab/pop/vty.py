"""Client for the vty socket of an FRR daemon, the one that vtysh uses too."""

import asyncio
from pathlib import Path
from typing import Final

from app.errors import SpeakerError

END_OF_ANSWER: Final = b"\0\0\0"  # followed by one byte, the command's return code
ANSWER_BYTES_MAX: Final = 64 << 20


async def ask(socket: Path, command: str, timeout_s: float = 10.0) -> bytes:
    """The daemon's answer to one command of the enable node; SpeakerError if it refuses or cannot be reached.

    Each command uses its own connection: answers do not name their command, so they must not be mixed.
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
        raise SpeakerError(
            f"{socket}: no answer to `{command}`: {_reason(error, timeout_s)}; is the daemon running?"
        ) from error
    if code:
        raise SpeakerError(f"{socket}: `{command}` refused with code {code}: {answer.decode(errors='replace')}")
    return answer


def _reason(error: Exception, timeout_s: float) -> str:
    match error:
        case TimeoutError():
            return f"nothing came within {timeout_s:g} s"
        case EOFError():
            return "the connection was closed"
        case asyncio.LimitOverrunError():
            return f"it is longer than {ANSWER_BYTES_MAX:,} bytes"
        case OSError(strerror=str(reason)):
            return reason
        case _:
            return "the connection was lost"


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    answer = await reader.readuntil(END_OF_ANSWER)
    return answer.removesuffix(END_OF_ANSWER), (await reader.readexactly(1))[0]
