"""One writer per gobgpd: a lock file beside its unix socket, held as long as the process lives."""

import fcntl
import os
from pathlib import Path

from app.errors import SpeakerError


class WriterLock:
    """The lock file `<socket>.lock`, taken with flock: the kernel releases it when its holder dies in any way."""

    def __init__(self, socket: Path) -> None:
        """Take the lock; SpeakerError if another process already writes to this gobgpd."""
        path = socket.with_name(f"{socket.name}.lock")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpeakerError(
                f"{path}: cannot be opened: {error.strerror}; this user must be able to write to its folder"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._fd, 32, 0).decode().strip() or "unknown"
            os.close(self._fd)
            raise SpeakerError(f"{path}: process {holder} already writes to this gobgpd: stop it first") from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give up the lock, so that another process may write."""
        os.close(self._fd)


def lock_for(target: str) -> WriterLock | None:
    """Lock a `unix://` target. None for a TCP target, which has no file on this host to lock."""
    return WriterLock(Path(target.removeprefix("unix://"))) if target.startswith("unix://") else None
