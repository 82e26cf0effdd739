"""`python -m tests.cluster [--json]`: a real Kubernetes, and what is shown on it. Exit code 1 if a step fails."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from app.errors import AutopilotError, DaemonError, EnvironmentProblem
from app.lab.daemons.machine import SEARCH_PATH
from app.lab.daemons.runner import POLL_S, Runner
from tests.cluster import broker, cgroups, steps
from tests.cluster.breaks import Breaks, closed_loop, while_it_flows
from tests.cluster.build import Builder
from tests.cluster.cluster import Cluster
from tests.cluster.firewall import firewall
from tests.cluster.network import Network
from tests.cluster.pki import NODES
from tests.cluster.pops import PopOutside, outside
from tests.cluster.product import Secrets, checks_itself
from tests.cluster.programs import programs
from tests.cluster.sandbox import Sandbox, leftovers
from tests.cluster.strangers import are_kept_out
from tests.deploy.chart import names, template
from tests.deploy.tools import Tools, tools

TARGETS = ("autopilot", "pmacct", "gobgpd")  # of the product's Dockerfile
ADDED = "added"  # the name of the PoP that comes later
PACKAGE_OF = {
    "containerd": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "ip": "iproute2",
}
PLUGINS, PLUGINS_PACKAGE = Path("/usr/lib/cni/bridge"), "containernetworking-plugins"
EXIT_USAGE = 2
GONE_WITHIN_S = 60.0

progress = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Report to whoever watches the run."""
    progress.print(line, soft_wrap=True, markup=False)


def check_machine() -> None:
    """EnvironmentProblem lists all that this machine lacks."""
    packages = [name for program, name in PACKAGE_OF.items() if shutil.which(program, path=SEARCH_PATH) is None]
    packages += [] if PLUGINS.exists() else [PLUGINS_PACKAGE]
    problems = [f"not installed: {', '.join(packages)}; `make cluster` installs them"] if packages else []
    if os.geteuid() != 0:
        problems.append("it makes namespaces, mounts and control groups: run it as root")
    if not cgroups.mounted():
        problems.append("no control groups are mounted in /sys/fs/cgroup")
    if problems:
        raise EnvironmentProblem("the cluster cannot start:\n" + "\n".join(f"- {problem}" for problem in problems))


async def run(taken: steps.Steps, base: str | None, keep: bool, pops: int) -> None:
    """Every step; an error ends the run."""
    check_machine()
    async with taken.step("programs"):
        built, clients, guard = programs(), tools(), firewall()
    name = f"{cgroups.PREFIX}{os.getpid()}"
    with own_folder() as folder:
        with cgroups.kept(name, list(NODES)):
            async with Runner(folder / "log", report=say) as runner:
                cluster = Cluster(runner, folder, name, built)
                await shown(taken, cluster, guard, clients, Builder(runner, folder, base, say), pops)
                if keep:
                    say(f"it is kept until Ctrl-C; a shell in it: {' '.join(cluster.sandbox.inside('bash'))}")
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.Event().wait()
        async with taken.step("nothing is left"):
            await gone(cluster.sandbox)


# Its stdin ends when we end, even by SIGKILL, and then it removes the folder, unless we have said a word.
KEEPER = 'trap "" HUP INT TERM; read -r word || rm -rf -- "$0"'


@contextmanager
def own_folder(prefix: str = cgroups.PREFIX) -> Iterator[Path]:
    """A folder for one run, which stays only if something failed, for its logs; it goes even if we are killed."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o711)  # daemons outside of the pods have folders of their own in it
    (folder / "log").mkdir()
    with subprocess.Popen(["sh", "-c", KEEPER, str(folder)], stdin=subprocess.PIPE, start_new_session=True) as keeper:
        assert keeper.stdin is not None, "a pipe"
        try:
            yield folder
        except Exception:
            keeper.stdin.write(b"keep\n")
            say(f"the logs are in {folder / 'log'}")
            raise


async def gone(sandbox: Sandbox) -> None:
    """Wait until the kernel has ended all of it; DaemonError says what is left."""
    try:
        async with asyncio.timeout(GONE_WITHIN_S):
            while left := leftovers(sandbox.namespace, sandbox.folder):
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise DaemonError(f"the cluster has ended, and these are left: {', '.join(left)}") from None


async def shown(taken: steps.Steps, cluster: Cluster, guard: Path, clients: Tools, builder: Builder, pops: int) -> None:
    """What is shown on the cluster; `guard` enforces its network policies."""
    secrets, helm = Secrets(), clients.helms["helm4"]
    wanted = secrets.values(pops)
    async with taken.step("two nodes are ready"):
        await cluster.start(guard)
    async with taken.step("a pod runs"):
        await steps.one_pod(cluster)
    async with taken.step("resource definitions"):
        await steps.definitions(cluster, clients)
    items = template(helm, wanted)
    async with taken.step("the chart is not refused"):
        await steps.refuses_nothing(cluster, items)
    async with taken.step("a misspelt key is refused"):
        await steps.refuses_typos(cluster, items)
    async with taken.step("the chart is installed"):
        await steps.installed(cluster, wanted)
    async with taken.step("the chart is removed"):
        await steps.removed(cluster, items)
    async with taken.step("the images are built"):
        for target in TARGETS:
            await cluster.load(await builder.product(target))
    async with taken.step("the product checks itself in a pod"):
        say(await checks_itself(cluster, items, secrets))
    async with taken.step("the image of a broker is built"):
        await cluster.load(await builder.image("kafka", broker.DOCKERFILE, broker.CONTEXT))
    network = Network(cluster, secrets, helm, names(pops))
    async with taken.step("the chart runs, on brokers in pods"):
        await network.start()
    async with AsyncExitStack() as stack:
        async with taken.step("routers outside of the pods have sessions"):
            places = [outside(cluster, pop, number) for number, pop in enumerate(network.pops)]
            outsides = await asyncio.gather(*map(stack.enter_async_context, places))
            await network.ready()
        async with taken.step("strangers reach nothing"):
            await are_kept_out(cluster)
        await broken(taken, Breaks(cluster, network), outsides)


async def broken(taken: steps.Steps, breaks: Breaks, outsides: Sequence[PopOutside]) -> None:
    """The closed loop, and then what breaks or is changed while traffic flows."""
    async with taken.step("the closed loop of the demo") as counted:
        await closed_loop(outsides, counted)
    for what, events in (
        (
            "telemetry fails",
            (
                ("telemetry's pods are killed", breaks.telemetry_is_killed),
                ("telemetry's volumes are lost", breaks.volumes_are_lost),
                ("telemetry ends when it is asked to", breaks.telemetry_ends),
                ("telemetry hangs", breaks.telemetry_hangs),
            ),
        ),
        (
            "what it stands on fails",
            (
                ("the collectors of sFlow restart", breaks.collectors_restart),
                ("a broker is killed", breaks.broker_is_killed),
                ("a node is drained", breaks.node_is_drained),
            ),
        ),
        ("settings change", (("helm upgrade", breaks.upgrade), ("helm rollback", breaks.rollback))),
    ):
        async with taken.step(f"every byte, while {what}") as counted, while_it_flows(outsides, counted):
            for name, happens in events:
                async with taken.step(name):
                    await happens()
    async with (
        taken.step("every byte, while a PoP comes and goes") as counted,
        while_it_flows(outsides, counted),
    ):
        async with AsyncExitStack() as stack, taken.step("a PoP is added") as added:
            another = await stack.enter_async_context(await breaks.add(ADDED))
            async with while_it_flows([another], added):
                pass
        async with taken.step("a PoP is removed"):
            await breaks.remove(ADDED)


def concluded(running: Coroutine[Any, Any, None]) -> int:
    """Run it to its end, and return the exit code; an error is reported."""
    try:
        asyncio.run(running)
    except EnvironmentProblem as problem:
        say(str(problem))
        return EXIT_USAGE
    except (AutopilotError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    return 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--base", metavar="IMAGE", help="A Debian 12, as buildah pulls it (docker://...); default: one is made.")
@click.option("--pops", metavar="N", type=click.IntRange(1, 9), default=3, show_default=True, help="How many PoPs.")
@click.option("--keep", is_flag=True, help="Keep the cluster until Ctrl-C, to look at it.")
def main(as_json: bool, base: str | None, keep: bool, pops: int) -> None:
    """Start a Kubernetes cluster of two nodes, and show on it what can be shown."""
    taken = steps.Steps(say)
    code = concluded(run(taken, base, keep, pops))
    if as_json:
        print(msgspec.json.encode(taken.outcome).decode())
    sys.exit(code)


if __name__ == "__main__":
    main()
