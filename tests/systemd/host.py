"""A system that this machine's systemd runs, with our units and a broker, and the routers of a PoP on its network."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.config.inventory import load_pop
from app.lab.daemons.kafka import CLUSTER_ID, JAVA_OPTIONS
from app.lab.daemons.machine import fill
from app.lab.demo.run import INVENTORY
from tests.integration.bgp import eventually
from tests.patience import PATIENCE_S
from tests.systemd.test_units import OURS, ROOT, UNITS

POP = load_pop(INVENTORY)
CELL = POP.name
ROUTERS = tuple(router.name for router in POP.router)
BROKER = "127.0.0.1:9092"
STATE_PORT, ACTUATOR_PORT, VIEW_PORT = 6070, 6071, 6072
TELEMETRY, ACTUATOR, VIEW = f"autopilot-telemetry@{CELL}", f"autopilot-actuator@{CELL}", "autopilot-view"
READY = {TELEMETRY: f"{STATE_PORT}/readyz", ACTUATOR: f"{ACTUATOR_PORT}/readyz", VIEW: f"{VIEW_PORT}/healthz"}
GOBGPDS = tuple(f"gobgpd@{router}" for router in ROUTERS)
REAPERS = tuple(f"autopilot-reaper@{router}" for router in ROUTERS)
COLLECTORS = (f"sfacctd@{CELL}", f"pmbmpd@{CELL}")
ENABLED = (*READY, *GOBGPDS, *COLLECTORS)
UNITS_RUN = (*ENABLED, *REAPERS)
KEYS = {"decisions": "/etc/autopilot/telemetry.pem", "control": "/root/operator.pem"}

BOOT = ROOT / "tests" / "systemd" / "boot.sh"
CHECKOUT = "/opt/checkout"
PATHS = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "AUTOPILOT_CONFIG=/etc/autopilot/autopilot.toml")
NAMESPACES = ("-m", "-p", "-C", "-n", "-i", "-u", "-r")
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
PROPERTIES = "/opt/kafka.properties"
JAVA = ("java", *JAVA_OPTIONS, "-cp", f"{CHECKOUT}/.cache/kafka/libs/*")
KAFKA = f"""
[Unit]
# As one on other hosts: it is there before our units, and after them.
Before=network-online.target

[Service]
ExecStart={" ".join(JAVA)} kafka.Kafka {PROPERTIES}
SuccessExitStatus=143

[Install]
WantedBy=multi-user.target
"""
LEASE_S = 360
SETTINGS = f"""
pops = ["{CELL}.toml"]
data_dir = "/var/lib/autopilot"
mode = "auto"

[kafka]
broker = "{BROKER}"
replication_factor = 1
session_timeout_s = 30.0 # a machine with other work; a killed actuator is back within a sixth of a lease

[pacing]
lease_s = {LEASE_S}.0
min_stay_s = 20.0

[signing]
decisions_key_file = "telemetry.pem"
"""


class Host:
    """The booted system. `shell` is what started it."""

    def __init__(self, shell: int) -> None:
        self._shell = shell

    @property
    def first(self) -> int | None:
        """Its first process; None while it has none."""
        pid = self._shell
        while children := _read(f"/proc/{pid}/task/{pid}/children").split():
            pid = int(children[0])
            if _read(f"/proc/{pid}/comm").strip() == "systemd":
                return pid
        return None

    def run(self, *argv: str) -> str:
        """Run a command on it; what it prints."""
        inside = ("nsenter", "-t", str(self.first), *NAMESPACES, "--", "env", "-C", "/", "-i", *PATHS)
        done = subprocess.run([*inside, *argv], text=True, capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def does(self, *argv: str) -> bool:
        """Whether a command succeeds on it."""
        with contextlib.suppress(AssertionError):
            self.run(*argv)
            return True
        return False

    def sh(self, script: str) -> str:
        return self.run("sh", "-c", script)

    def on_network(self, *argv: str) -> tuple[str, ...]:
        """A command line that has its network, and all else of this machine."""
        return (*ENDS_WITH_US, "nsenter", "-t", str(self._shell), "-n", "--", *argv)

    def get(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", key, unit).strip()

    def pid(self, unit: str) -> int:
        """The main process of a unit; 0 if it has none."""
        return int(self.get(unit, "MainPID"))

    def runs(self, unit: str) -> bool:
        return (self.get(unit, "ActiveState"), self.get(unit, "SubState")) == ("active", "running")

    def web(self, path: str) -> Any:
        """What one of our processes serves at `PORT/PATH`; None unless it does."""
        ask = f"import urllib.request as web; print(web.urlopen('http://127.0.0.1:{path}', timeout=10).read().decode())"
        with contextlib.suppress(AssertionError):
            return json.loads(self.run("python3", "-c", ask) or "{}")
        return None

    def log(self, unit: str, since_s: float = 0.0) -> str:
        """What a unit has logged since then, in Unix seconds.

        A cursor would be no help: with one, journalctl 252 leaves out the first line of a unit that has not the cursor.
        """
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit, f"--since=@{since_s:.6f}")

    def held(self, router: str) -> dict[str, int]:
        """By prefix, when the routes in the gobgpd beside a router were sent; empty if it does not answer."""
        socket = f"unix:///run/autopilot/{router}.sock"
        with contextlib.suppress(AssertionError):
            table = json.loads(self.run("gobgp", "--target", socket, "-j", "global", "rib") or "{}")
            return {prefix: _sent_s(paths) for prefix, paths in table.items()}
        return {}


def _sent_s(paths: list[dict[str, Any]]) -> int:
    """The second field of the lease, a large community."""
    times: list[int] = [
        value["LocalData2"]
        for path in paths
        for attribute in path["attrs"]
        if attribute["type"] == 32
        for value in attribute["value"]
    ]
    return max(times)


class Edges:
    """The routers, in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self) -> dict[str, dict[str, int]]:
        """By router, how many overrides it uses `now`, and the `least` since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return await self.answer()

    async def see(self, holds: Callable[[int], bool]) -> None:
        """Wait until it holds of the number of overrides that each router uses."""

        async def does() -> bool:
            return all([holds(used["now"]) for used in (await self.ask()).values()])

        await eventually(does)

    async def answer(self) -> dict[str, dict[str, int]]:
        assert self._process.stdout is not None
        used: dict[str, dict[str, int]] = json.loads(await self._process.stdout.readline() or "null")
        assert used is not None, "the routers have ended"
        return used


async def until(what: str, holds: Callable[[], bool], host: Host | None = None, within_s: float = PATIENCE_S) -> None:
    """Wait until it holds."""

    async def does() -> bool:
        return holds()

    try:
        await eventually(does, within_s)
    except TimeoutError:
        logs = [f"{unit}: {host.log(unit)[-1500:]}" for unit in UNITS_RUN] if host else []
        pytest.fail("\n".join([what, *logs]))


def prepare(files: Path) -> None:
    """Lay out what the page of the units says: units, users, folders, settings, and our command."""
    system, settings = files / "etc/systemd/system", files / "etc/autopilot"
    shutil.copytree(UNITS, system, symlinks=True)
    (system / "kafka.service").write_text(KAFKA)
    for name in ("sysusers", "tmpfiles"):
        (files / f"etc/{name}.d").mkdir()
        (system / f"{name}.conf").rename(files / f"etc/{name}.d/autopilot.conf")
    for folder in (settings, (files / OURS[1:]).parent):
        folder.mkdir(parents=True)
    # The checkout may be in a home directory, which the units do not see.
    python = CHECKOUT + str(Path(sys.prefix) / "bin/python").removeprefix(str(ROOT))
    command = files / OURS[1:]
    command.write_text(f'#!/bin/sh\nexec env PYTHONPATH={CHECKOUT} {python} -P -m app "$@"\n')
    command.chmod(0o755)
    (settings / "autopilot.toml").write_text(SETTINGS)
    (settings / "reaper.env").write_text(f"MARKER={POP.marker_community}\nOPTIONS=--lease-s {LEASE_S}\n")
    sockets = INVENTORY.read_text().replace("/run/autopilot/injector-", "/run/autopilot/")
    (settings / INVENTORY.name).write_text(sockets)
    (files / PROPERTIES[1:]).write_text(fill("kafka.properties", kafka=9092, controller=9093, data="/var/lib/kafka"))


@asynccontextmanager
async def booted(folder: Path) -> AsyncIterator[Host]:
    """A system with a broker that has our topics, and nothing of ours started."""
    assert os.geteuid() == 0, "it needs root, for namespaces: run it as root, or leave it out (--ignore)"
    prepare(folder / "files")
    with (folder / "console").open("w") as console:
        shell = await asyncio.create_subprocess_exec(
            *ENDS_WITH_US, BOOT, folder, ROOT, stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    host = Host(shell.pid)
    try:
        await has_booted(host)
        host.run(*JAVA, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", PROPERTIES)
        host.run("systemctl", "enable", "--now", "kafka")
        host.run("systemd-sysusers")
        host.run("systemd-tmpfiles", "--create", "autopilot.conf")
        for kind, key in KEYS.items():
            host.sh(f"{OURS} keys new {key} --signs {kind} >>/etc/autopilot/autopilot.toml")
        host.run("chown", "autopilot-telemetry:", KEYS["decisions"])
        host.run(OURS, "render", "gobgpd", "--out", "/etc/autopilot/gobgpd")
        host.run(OURS, "render", "collectors", "--listen", "127.0.0.1", "--out", f"/etc/pmacct/{CELL}")
        await until("no topics", lambda: host.does("sh", "-c", f"{OURS} check --create-topics | grep -q 'No problems'"))
        yield host
    finally:
        shell.kill()
        await shell.wait()
        await until("groups are left", lambda: _remove_groups(folder.name))


async def has_booted(host: Host) -> None:
    await until("no first process", lambda: host.first is not None)
    await until("it does not boot", lambda: host.does("systemctl", "is-active", "multi-user.target"))


@asynccontextmanager
async def edges(host: Host, log: Path) -> AsyncIterator[Edges]:
    """The routers, all of whose routes have reached the broker, with traffic."""
    folder = tempfile.mkdtemp(prefix="autopilot-")  # that other users can reach; they remove it
    pipe = subprocess.PIPE
    argv = host.on_network(sys.executable, "-m", "tests.systemd.edges", folder)
    with log.open("w") as written:
        process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=written, cwd=ROOT)
    routers = Edges(process)
    try:
        await routers.answer()
        yield routers
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""  # it has ended


def _remove_groups(name: str) -> bool:
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"**/{name}") if path.is_dir()]
    for top in groups:
        for group in sorted((path for path in (top, *top.rglob("*")) if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
    return not any(group.exists() for group in groups)
