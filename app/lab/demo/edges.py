"""Looks at the edges as an operator would, with their own commands: `gobgp global rib` on r1, `vtysh` on r2."""

import asyncio
import re
from collections.abc import Mapping, Sequence

import msgspec

from app.lab.daemons.commands import output
from app.lab.daemons.stack import Stack
from app.lab.pop.model import Announcement

PREFIX = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|[0-9a-f]+:[0-9a-f:]+)/\d+")
FAMILIES = ("ipv4", "ipv6")


class MarkedLines(msgspec.Struct, frozen=True):
    """The lines with our marker community in the output of one router's commands, for both address families."""

    router: str
    command: str
    lines: tuple[str, ...]

    def copies(self, announcements: Mapping[str, Sequence[Announcement]]) -> int:
        """How many lines show an AS path that some neighbour announces for the same prefix.

        `announcements` is by the neighbour's address.
        """
        paths: dict[str, set[str]] = {}
        for routes in announcements.values():
            for route in routes:
                paths.setdefault(route.prefix, set()).add(" ".join(map(str, route.as_path)))
        return sum(_is_copy(line, paths) for line in self.lines)


def _is_copy(line: str, paths: Mapping[str, set[str]]) -> bool:
    prefix = PREFIX.search(line)
    return prefix is not None and any(f" {path} " in line for path in paths.get(prefix[0], ()))


async def show(stack: Stack) -> list[MarkedLines]:
    """Ask both edges for our routes now; DaemonError if a command fails."""
    r1, r2 = stack.pop.router
    community = stack.pop.marker_community
    gobgp = ["gobgp", "--target", stack.r1_grpc, "global", "rib", "-a"]
    vtysh = ["vtysh", "--vty_socket", str(stack.r2_vty.parent), "-d", "bgpd", "-c"]
    wide = f"unicast community {community} wide"  # otherwise a long prefix is printed on a line of its own
    return [
        await _shown(r1.name, [[*gobgp, family] for family in FAMILIES], ("*>", community)),
        await _shown(r2.name, [[*vtysh, f"show bgp {family} {wide}"] for family in FAMILIES], ("*>",)),
    ]


async def _shown(router: str, commands: Sequence[Sequence[str]], texts: Sequence[str]) -> MarkedLines:
    """The output lines of these commands that contain every one of `texts`."""
    outputs = await asyncio.gather(*(output(*argv) for argv in commands))
    lines = [line for output in outputs for line in output.splitlines() if all(text in line for text in texts)]
    return MarkedLines(router, "; ".join(map(" ".join, commands)), tuple(lines))
