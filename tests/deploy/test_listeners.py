"""Each process of ours that listens, in a network namespace of its own: it is reached from another, as in a pod."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.config.collectors import BMP_PORT, PMBMPD, SFACCTD, SFLOW_PORT, Listens, collector_files, whole_files
from app.contract import topics
from app.lab.daemons.commands import output
from app.lab.daemons.deployment import load_local, write_inventory, write_settings
from app.lab.daemons.kafka import kafka, reached_at
from app.lab.daemons.machine import binary
from app.lab.daemons.runner import Program, Runner
from tests.deploy.chart import INVENTORY
from tests.foreign.host import ip, own_network, prepare_kernel
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.services

POD, OUTSIDE = "10.213.0.2", "10.213.0.1"
ONLY_INSIDE = 7072  # a view that listens where it does by default
# Prints what somebody outside sees at each port: a status of HTTP, "open", or "refused".
LOOK = """
import json, socket, sys, urllib.error, urllib.request
def http(port):
    try:
        return urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return "refused"
def tcp(port):
    try:
        socket.create_connection((host, port), timeout=10).close()
        return "open"
    except OSError:
        return "refused"
def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.connect((host, port))
        try:
            sender.send(b"?")
            sender.recv(1)
        except TimeoutError:
            return "open"  # nobody says that it is closed
        except ConnectionError:
            return "refused"
host, wanted = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps({f"{kind} {port}": {"http": http, "tcp": tcp, "udp": udp}[kind](port) for kind, port in wanted}))
"""
PORTS = [("http", 6070), ("http", 6071), ("http", 6072), ("tcp", BMP_PORT), ("udp", SFLOW_PORT)]
SHUT = [("http", ONLY_INSIDE), ("tcp", BMP_PORT + 1), ("udp", SFLOW_PORT + 1)]


def test_every_listener_is_reached_from_outside_of_its_pod(tmp_path: Path) -> None:
    with own_network():
        outside, inside = asyncio.run(story(tmp_path))
    assert outside == {"http 6070": 200, "http 6071": 200, "http 6072": 200, "tcp 1790": "open", "udp 6343": "open"} | {
        f"{kind} {port}": "refused" for kind, port in SHUT
    }
    assert inside == {f"http {ONLY_INSIDE}": 200}, "loopback is the default, and stays what it is"


async def story(folder: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Start everything; return what is seen from outside, and from inside on loopback."""
    folder.chmod(0o755)  # daemons run as another user
    inventory = write_inventory(folder, INVENTORY)
    await prepare_kernel()
    async with kafka(topics.named(["rhv1000"])) as broker, Runner(folder) as runner:
        settings: dict[str, dict[str, object]] = {
            "-inside": {"view_port": ONLY_INSIDE},
            "": {"http": {"listen": "0.0.0.0"}, "actuator_port": 6071},
        }
        configs = {}
        for name, over in settings.items():
            written = write_settings(folder, inventory, broker, over)
            configs[name] = written.rename(folder / f"autopilot{name}.toml")
        pid = await _outside(runner)
        for arguments in (("telemetry", "--cell", "rhv1000"), ("actuator", "--cell", "rhv1000"), ("view",)):
            await _start(runner, *arguments, config=configs[""])
        await _start(runner, "view", config=configs["-inside"])
        await _collectors(runner, folder, configs[""], broker)
        look = ("nsenter", "-t", str(pid), "-n", sys.executable, "-c", LOOK, POD)
        await _until(lambda: _seen(*look, wanted=PORTS), {f"{kind} {port}" for kind, port in PORTS})
        await _until(lambda: _seen(sys.executable, "-c", LOOK, "127.0.0.1", wanted=SHUT[:1]), {f"http {ONLY_INSIDE}"})
        outside = await _seen(*look, wanted=[*PORTS, *SHUT])
        return outside, await _seen(sys.executable, "-c", LOOK, "127.0.0.1", wanted=SHUT[:1])


async def _outside(runner: Runner) -> int:
    """A neighbour on a wire, in a namespace of its own; the id of a process there."""

    async def has_its_own() -> str | None:
        ours, its = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", runner.pid("outside")))
        return None if ours != its else "it is still in our namespace"

    argv = ("unshare", "--net", "sleep", "infinity")
    await runner.start(Program(name="outside", argv=argv, keeps_user=True), has_its_own)
    pid = runner.pid("outside")
    await ip(f"link add pod type veth peer name wire netns {pid}", f"addr add {POD}/24 dev pod", "link set pod up")
    for command in (f"addr add {OUTSIDE}/24 dev wire", "link set wire up"):
        await output("nsenter", "-t", str(pid), "-n", "ip", *command.split())
    return pid


async def _start(runner: Runner, *arguments: str, config: Path) -> None:
    name = f"{arguments[0]}-{config.stem}"
    argv = (sys.executable, "-m", "app", *arguments, "--config", str(config))
    await runner.start(Program(name=name, argv=argv, keeps_user=True))


async def _collectors(runner: Runner, folder: Path, config: Path, broker: str) -> None:
    deployment = load_local(config)
    pop, listens, plain = deployment.pops["rhv1000"], Listens(deployment.settings.http.listen), reached_at(broker)
    for name, text in whole_files(pop, collector_files(pop, folder, plain), listens, plain, 2).items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, file in (("sfacctd", SFACCTD), ("pmbmpd", PMBMPD)):
        argv = (binary(name), "-f", str(folder / file))
        await runner.start(Program(name=name, argv=argv, stop_signal=signal.SIGINT))


async def _seen(*command: str, wanted: list[tuple[str, int]]) -> dict[str, object]:
    found: dict[str, object] = json.loads(await output(*command, json.dumps(wanted)))
    return found


async def _until(look: Callable[[], Awaitable[dict[str, object]]], open_ports: set[str]) -> None:
    """Wait until all of these are open."""
    async with asyncio.timeout(PATIENCE_S):
        while not open_ports <= {port for port, found in (await look()).items() if found in (200, "open")}:
            await asyncio.sleep(0.2)
