"""Runs one command of a daemon to its end."""

import asyncio
from pathlib import Path

from app.errors import DaemonError

ANSWER_S = 30.0


async def output(*argv: str, stdin: str = "", within_s: float = ANSWER_S, name: str = "") -> str:
    """What the command prints; DaemonError, with its name, if it fails or does not end within `within_s`."""
    name = name or Path(argv[0]).name
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), within_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise DaemonError(f"{name} has not answered within {within_s:g} s; is its daemon running?") from None
    if process.returncode:
        said = (err or out).decode(errors="replace").strip()
        raise DaemonError(f"{name} failed with status {process.returncode}: {said}")
    return out.decode(errors="replace")
