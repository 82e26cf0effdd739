"""The edges by their own commands, as an operator would look: `gobgp global rib` on r1, `vtysh` on r2."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from app.errors import DaemonError
from app.local.stack import Stack
from app.sim.model import Route

PREFIX = re.compile(r"\d+\.\d+\.\d+\.\d+/\d+")


class Shown(msgspec.Struct, frozen=True):
    """The lines of one router's command that carry our community."""

    router: str
    command: str
    lines: tuple[str, ...]

    def copies(self, announcements: Mapping[str, Sequence[Route]]) -> int:
        """How many of the lines show the AS path of a neighbour's own announcement of that very prefix."""
        paths: dict[str, set[str]] = {}
        for routes in announcements.values():
            for route in routes:
                paths.setdefault(route.prefix, set()).add(" ".join(map(str, route.as_path)))
        return sum(_is_copy(line, paths) for line in self.lines)


def _is_copy(line: str, paths: Mapping[str, set[str]]) -> bool:
    prefix = PREFIX.search(line)
    return prefix is not None and any(f" {path} " in line for path in paths.get(prefix[0], ()))


async def show(stack: Stack) -> list[Shown]:
    """Ask both edges now; DaemonError when a command fails."""
    r1, r2 = stack.pop.router
    gobgp = ["gobgp", "--target", stack.r1_grpc, "global", "rib"]
    community = stack.pop.marker_community
    vtysh = ["vtysh", "--vty_socket", str(stack.r2_vty.parent), "-d", "bgpd", "-c"]
    asked = [
        (r1.name, gobgp, lambda line: line.startswith("*>") and community in line),
        (r2.name, [*vtysh, f"show bgp ipv4 unicast community {community}"], lambda line: line.startswith("*>")),
    ]
    outputs = await asyncio.gather(*(_output(argv) for _, argv, _ in asked))
    return [
        Shown(router, " ".join(argv), tuple(filter(ours, output.splitlines())))
        for (router, argv, ours), output in zip(asked, outputs, strict=True)
    ]


async def _output(argv: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 10)
    if process.returncode:
        raise DaemonError(
            f"{Path(argv[0]).name} ended with status {process.returncode}: {err.decode(errors='replace')}"
        )
    return out.decode(errors="replace")
