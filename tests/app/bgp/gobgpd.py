"""A real gobgpd for a test: started on loopback with gRPC on a unix socket, gone when the test ends."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.bgp.calls import Deadline
from app.bgp.client import GobgpClient
from app.bgp.tls import Tls
from app.errors import SpeakerError
from tests.patience import PATIENCE_S

# By deploy/local/gobgp4.sh.
BUILT = Path(__file__).parents[3] / ".cache" / "gobgp4"

# No listener: what is injected goes nowhere.
ALONE = """
[global.config]
as = 64512
router-id = "192.0.2.21"
port = -1
"""


class Gobgpd:
    """One daemon of a major version that can be stopped and started again on the same socket."""

    def __init__(self, folder: Path, config: str, name: str = "gobgpd", major: int = 3) -> None:
        self.major = major
        self.socket = folder / f"{name}.sock"
        self.target = f"unix://{self.socket}"
        self.tls: Tls | None = None
        self.more: tuple[str, ...] = ()  # arguments
        self._config = folder / f"{name}.toml"
        self._config.write_text(config)
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when gRPC answers."""
        self.socket.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                gobgpd_binary(self.major), "-f", str(self._config), "--api-hosts", self.target, "--pprof-disable",
                *self.more, stdout=log, stderr=log,
            )  # fmt: skip
        client = GobgpClient(self.target, Deadline(base_s=0.5), self.tls)
        async with asyncio.timeout(PATIENCE_S):
            while not await _answers(client):
                assert self._process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.02)
        await client.close()

    def freeze(self) -> None:
        """It keeps its sessions and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def ended(self) -> None:
        """Return when the process has ended."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_S):
            await self._process.wait()

    async def stop(self) -> None:
        """Kill it: nothing is kept."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(*configs: tuple[str, str], major: int = 3) -> AsyncIterator[list[Gobgpd]]:
    """Daemons by (name, TOML), started together; a short folder, since a socket's path has 108 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="gobgpd-") as folder:
        daemons = [Gobgpd(Path(folder), config, name, major) for name, config in configs]
        try:
            await asyncio.gather(*(daemon.start() for daemon in daemons))
            yield daemons
        finally:
            await asyncio.gather(*(daemon.stop() for daemon in daemons))


def gobgpd_binary(major: int) -> str:
    """Path of this major version; without it the test is skipped, or fails where services are required."""
    if (found := shutil.which("gobgpd" if major == 3 else BUILT / "gobgpd")) is not None:
        return found
    if os.environ.get("AUTOPILOT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"gobgpd {major} is not installed, and AUTOPILOT_REQUIRE_SERVICES=1")
    pytest.skip(f"gobgpd {major} is not installed: run deploy/local/install.sh")


async def _answers(client: GobgpClient) -> bool:
    try:
        await client.global_config()
    except SpeakerError:
        return False
    return True
