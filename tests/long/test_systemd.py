"""The units run by a real systemd, hardened as they are: all of them start, come back when killed, reload, and stop.

It needs root. The systemd of this machine boots in namespaces of its own, on a copy of its files that is thrown away.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.config.inventory import load_pop
from app.lab.daemons.kafka import CLUSTER_ID, JAVA_OPTIONS
from app.lab.daemons.machine import fill
from tests.integration.bgp import eventually
from tests.systemd.test_units import OURS, ROOT, UNITS

pytestmark = pytest.mark.services

LAB = ROOT / "deploy" / "local"
POP = load_pop(LAB / "rhv1000.toml")
CHECKOUT = "/opt/checkout"
JAVA = ("java", *JAVA_OPTIONS, "-cp", f"{CHECKOUT}/.cache/kafka/libs/*")
PROPERTIES = "/opt/kafka.properties"
WORKERS = {"autopilot-telemetry@rhv1000": 6070, "autopilot-actuator@rhv1000": 6071}
ROUTER = POP.router[0].name
SERVICES = (
    *WORKERS,
    "autopilot-view",
    f"gobgpd@{ROUTER}",
    f"autopilot-reaper@{ROUTER}",
    "sfacctd@rhv1000",
    "pmbmpd@rhv1000",
)
BOOT = ROOT / "tests" / "systemd" / "boot.sh"
SETTINGS = """
pops = ["rhv1000.toml"]
data_dir = "/var/lib/autopilot"
mode = "auto"

[kafka]
broker = "127.0.0.1:9092"
replication_factor = 1
session_timeout_s = 60.0 # a machine with other work

[signing]
decisions_key_file = "telemetry.pem"
"""
KEYS = {"decisions": "/etc/autopilot/telemetry.pem", "control": "/root/operator.pem"}


class Host:
    """The booted system; `pid` is its first process."""

    def __init__(self, pid: int) -> None:
        self._enter = (
            "nsenter",
            "-t",
            str(pid),
            "-m",
            "-p",
            "-C",
            "-n",
            "-i",
            "-u",
            "-r",
            "--",
            "env",
            "-C",
            "/",
            "-i",
        )

    def run(self, *argv: str) -> str:
        """Run a command on it; what it prints."""
        paths = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "AUTOPILOT_CONFIG=/etc/autopilot/autopilot.toml")
        done = subprocess.run([*self._enter, *paths, *argv], text=True, capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def does(self, *argv: str) -> bool:
        """Whether a command succeeds on it."""
        with contextlib.suppress(AssertionError):
            self.run(*argv)
            return True
        return False

    def get(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", key, unit).strip()

    def runs(self, unit: str) -> bool:
        return (self.get(unit, "SubState"), self.get(unit, "MainPID") != "0") == ("running", True)

    def is_ready(self, port: int) -> bool:
        ask = f"import urllib.request as web; web.urlopen('http://127.0.0.1:{port}/readyz', timeout=10)"
        return self.does("python3", "-c", ask)

    def log(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)


async def until(what: str, holds: Callable[[], bool], host: Host | None = None) -> None:
    """Wait until it holds."""

    async def does() -> bool:
        return holds()

    try:
        await eventually(does)
    except TimeoutError:
        logs = [f"{unit}: {host.log(unit)[-1500:]}" for unit in SERVICES] if host else []
        pytest.fail("\n".join([what, *logs]))


def prepare(files: Path) -> None:
    """Lay out what the page of the units says: units, users, folders, settings, and our command."""
    system, settings = files / "etc/systemd/system", files / "etc/autopilot"
    shutil.copytree(UNITS, system, symlinks=True)
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
    (settings / "reaper.env").write_text(f"MARKER={POP.marker_community}\n")
    sockets = (LAB / "rhv1000.toml").read_text().replace("/run/autopilot/injector-", "/run/autopilot/")
    (settings / "rhv1000.toml").write_text(sockets)
    (files / PROPERTIES[1:]).write_text(fill("kafka.properties", kafka=9092, controller=9093, data="/var/lib/kafka"))


@asynccontextmanager
async def booted(folder: Path) -> AsyncIterator[Host]:
    """A system with a broker that has our topics."""
    assert os.geteuid() == 0, "it needs root, for namespaces: run it as root, or leave it out (--ignore)"
    prepare(folder / "files")
    with (folder / "console").open("w") as console:
        shell = await asyncio.create_subprocess_exec(
            BOOT, folder, ROOT, stdout=console, stderr=console, start_new_session=True
        )
    children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
    try:
        await until("no first process", lambda: "systemd" in map(_name, children.read_text().split()))
        host = Host(int(children.read_text()))
        await until("it does not boot", lambda: host.does("systemctl", "is-active", "basic.target"))
        host.run(*JAVA, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", PROPERTIES)
        host.run("systemd-run", "--unit=kafka", *JAVA, "kafka.Kafka", PROPERTIES)
        host.run("systemd-sysusers")
        host.run("systemd-tmpfiles", "--create", "autopilot.conf")
        for kind, key in KEYS.items():
            host.run("sh", "-c", f"{OURS} keys new {key} --signs {kind} >>/etc/autopilot/autopilot.toml")
        host.run("chown", "autopilot-telemetry:", KEYS["decisions"])
        host.run(OURS, "render", "gobgpd", "--out", "/etc/autopilot/gobgpd")
        host.run(OURS, "render", "collectors", "--listen", "127.0.0.1", "--out", "/etc/pmacct/rhv1000")
        await until("no topics", lambda: host.does("sh", "-c", f"{OURS} check --create-topics | grep -q 'No problems'"))
        yield host
    finally:
        shell.kill()
        await shell.wait()
        await until("groups are left", lambda: _remove_groups(folder.name))


def _name(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""  # it has ended


def _remove_groups(name: str) -> bool:
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"**/{name}") if path.is_dir()]
    for top in groups:
        for group in sorted((path for path in (top, *top.rglob("*")) if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                group.rmdir()
    return not any(group.exists() for group in groups)


async def test_all_of_it_under_a_real_systemd(tmp_path: Path) -> None:
    async with booted(tmp_path) as host:
        host.run("systemctl", "enable", *(unit for unit in SERVICES if "reaper" not in unit))
        host.run("systemctl", "start", "autopilot.target")
        await all_are_well(host)
        await each_comes_back_when_it_is_killed(host)
        await a_frozen_gobgpd_is_ended_by_its_reaper(host)
        await a_changed_file_is_taken_over(host)
        host.run("systemctl", "stop", "autopilot.target")
        assert {unit: (host.get(unit, "ActiveState"), host.get(unit, "Result")) for unit in SERVICES} == dict.fromkeys(
            SERVICES, ("inactive", "success")
        )


async def all_are_well(host: Host) -> None:
    await until("not all run", lambda: all(map(host.runs, SERVICES)), host)
    await until("not ready", lambda: all(map(host.is_ready, WORKERS.values())), host)


async def each_comes_back_when_it_is_killed(host: Host) -> None:
    killed = {unit: host.get(unit, "MainPID") for unit in SERVICES}
    host.run("kill", "-KILL", *killed.values())
    await until(
        "some are gone", lambda: all(host.get(unit, "MainPID") not in ("0", pid) for unit, pid in killed.items()), host
    )
    await all_are_well(host)


async def a_frozen_gobgpd_is_ended_by_its_reaper(host: Host) -> None:
    gobgpd, reaper = f"gobgpd@{ROUTER}", f"autopilot-reaper@{ROUTER}"
    frozen, same = host.get(gobgpd, "MainPID"), host.get(reaper, "MainPID")
    host.run("kill", f"-{signal.SIGSTOP}", frozen)
    await until("gobgpd stays", lambda: host.get(gobgpd, "MainPID") not in ("0", frozen), host)
    assert "ending it" in host.log(reaper)
    assert host.get(reaper, "MainPID") == same


async def a_changed_file_is_taken_over(host: Host) -> None:
    host.run("sh", "-c", "printf '[thresholds]\\nenter = 0.93\\n' >>/etc/autopilot/autopilot.toml")
    for unit in WORKERS:
        host.run("systemctl", "reload", unit)
    await until("not taken over", lambda: all("0.93" in host.log(unit) for unit in WORKERS), host)
