"""Namespaces for a cluster: network, mounts and processes of its own, which end with their first process."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from app.lab.daemons.commands import output
from app.lab.daemons.runner import Program, Runner, setpriv

SCRIPT = Path(__file__).parents[2] / "deploy" / "cluster" / "sandbox.sh"
OWN = ("--net", "--mount", "--pid")


class Sandbox:
    """What is run in it by `inside` sees the files of this machine, and can write to `state` and to `folder`.

    `state` is in memory and seen only inside. Each of the `nodes` has a network of its own, beside that of the rest. If
    we die, the kernel ends unshare and the first process with us, then all others, and with them the namespaces.
    """

    def __init__(self, runner: Runner, folder: Path, nodes: Sequence[str] = ()) -> None:
        self._runner = runner
        self._nodes = nodes
        self.folder = folder
        self.state = folder / "state"
        self._first = 0
        self.namespace = ""  # of its processes, as the kernel calls it

    async def start(self) -> None:
        """Make the namespaces; DaemonError with the end of the log if something refuses."""
        self.state.mkdir()
        own = (*OWN, "--fork", "--kill-child=KILL", "--mount-proc")
        argv = ("unshare", *own, "--", "sh", str(SCRIPT), str(self.state), *self._nodes)
        # unshare takes no SIGTERM while it waits.
        await self._runner.start(Program(name="sandbox", argv=argv, stop_signal=signal.SIGKILL))
        await self._runner.ready("sandbox", self._is_made)

    def inside(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs this one inside, with a home that nobody keeps."""
        home = (f"HOME={self.state}", f"KUBECONFIG={self.folder / 'pki' / 'admin.kubeconfig'}")
        return ("nsenter", f"--target={self._first}", *OWN, "--", *setpriv(None), "env", *home, *argv)

    def at(self, node: str, *argv: str) -> tuple[str, ...]:
        """The same, in the network of a node."""
        return self.inside("nsenter", f"--net=/run/netns/{node}", "--", *argv)

    async def run(self, *argv: str, stdin: str = "", within_s: float = 30.0) -> str:
        """Run a command inside to its end; what it prints. DaemonError if it fails."""
        return await output(*self.inside(*argv), stdin=stdin, within_s=within_s, name=Path(argv[0]).name)

    async def _is_made(self) -> str | None:
        unshare = self._runner.pid("sandbox")
        children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text(encoding="ascii").split()
        if not children:
            return "it has no first process yet"
        self._first = int(children[0])
        self.namespace = os.readlink(f"/proc/{self._first}/ns/pid")
        return None if Path(f"/proc/{self._first}/root{self.state}/ready").exists() else "it is being furnished"


def leftovers(namespace: str, folder: Path) -> list[str]:
    """What is left of a sandbox: processes of its namespace, and mounts below its folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "ns" / "pid") == namespace:
                found.append(f"process {process.name}")
        except OSError:  # it has ended, or it is dead and nobody has buried it
            continue
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return found + [f"mount {words[4]}" for words in map(str.split, mounts) if words[4].startswith(f"{folder}/")]
