"""The plan of the house: its rooms from the ground up, what lives in each, and which other rooms it may look into.

`tests/test_tidy.py` holds the code against this table, and `python -m tests.plan` draws it into docs/architecture.md.
"""

import sys
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- plan: drawn by python -m tests.plan -->\n", "<!-- end of plan -->\n"


class Room(NamedTuple):
    """A package, or a module that stands alone. It may import itself and whatever `may_import` names."""

    name: str
    lives_here: str
    may_import: tuple[str, ...] = ()
    faust: bool = False  # whether it may import Faust


GROUND = ("app.errors", "app.clock", "app.tasks")
BASE = (*GROUND, "app.contract", "app.config")
TE = ("app.te.cycle_state", "app.te.routing", "app.te.traffic", "app.te.evidence", "app.te.decision", "app.te.explain")
ANYTHING = ("app", "agents", "tables")

GROUND_FLOOR = (
    Room("app.errors", "our exceptions, by how wide a caller wants to catch"),
    Room("app.clock", "the only place that reads a clock"),
    Room("app.logs", "one line a log record: JSON or text", GROUND),
    Room("app.metrics", "every metric, with its meaning"),
    Room("app.tasks", "jobs that must not end without a word"),
    Room("app.private_names", "every private name of aiokafka and Faust that we use", faust=True),
    Room("app.native", "the two loops that every flow record passes, in C"),
)
ROOMS = (
    Room("app.contract", "what is published: topics, record types, their documents", GROUND),
    Room("app.config", "what you configure: settings, thresholds, inventory", (*GROUND, "app.contract", "app.logs")),
    Room("app.te", "traffic engineering: pure functions, no I/O, no Faust", BASE),
    Room("app.te.routing", "what routers would do: paths, tables, plain BGP's choice", (*BASE, "app.native")),
    Room("app.te.traffic", "what came, and where it goes: windows, demand, loads", (*BASE, *TE[:2])),
    Room("app.te.evidence", "whether that can be believed", (*BASE, *TE[:3])),
    Room("app.te.decision", "what we do about it: detect, allocate, guard, release", (*BASE, *TE[:4])),
    Room("app.te.explain", "how we say why", (*BASE, *TE[:5])),
    Room("app.bgp", "the BGP speaker: its protocol, GoBGP, a fake in memory", (*BASE, "app.te.routing")),
    Room(
        "app.routers",
        "the routers' own last line: their configuration rendered, read back and judged",
        (*BASE, "app.bgp"),
    ),
    Room(
        "app.feeds",
        "decoders of what collectors write, and where every sampled byte goes",
        (*BASE, "app.te.routing", "app.te.traffic", "app.native"),
    ),
    Room(
        "app.kafka",
        "the one door to Kafka, and readers of our own topics",
        (*BASE, "app.logs", "app.metrics", "app.private_names"),
    ),
    Room(
        "tables",
        "one table a file: key, value, bound on its size",
        (*BASE, "app.te", "app.feeds", "app.private_names"),
        faust=True,
    ),
    Room(
        "app.stream",
        "Faust made exact: batches, the flush protocol, the fence",
        (*BASE, "app.kafka", "app.feeds.rejected", "app.logs", "app.metrics", "app.private_names", "tables.store"),
        faust=True,
    ),
    Room(
        "app.actuation",
        "what each router's speaker should hold now, and the way there",
        (*BASE, "app.bgp", "app.te", "app.metrics"),
    ),
    Room("app.web", "the read-only page, and the workers' state over HTTP", (*BASE, "app.logs"), faust=True),
    Room(
        "agents",
        "one agent a file: flows, counters, routes, decide, actuate",
        (*BASE, "tables", "app.te", "app.feeds", "app.stream", "app.metrics"),
        faust=True,
    ),
    Room("app.lab", "the laboratory: real daemons under a simulated PoP"),
    Room("app.lab.pop", "the simulated PoP: traffic, routers, sFlow, the truth", (*BASE, "app.bgp")),
    Room(
        "app.lab.daemons",
        "Kafka, pmacct, GoBGP, FRR and ExaBGP on loopback",
        (*BASE, "app.bgp", "app.kafka", "app.private_names", "app.lab.pop.model", "app.lab.pop.vty"),
    ),
    Room("app.lab.demo", "`make demo`: a story on both, and its verdict", ANYTHING),
    Room("app.simulation", "the same product in virtual time, with faults and invariants", ANYTHING, faust=True),
    Room("app.cli", "the command `autopilot`", ANYTHING),
)
ROOTS = (
    Room("app.__main__", "`python -m app`", ("app.cli", "app.reaper")),
    Room(
        "app.reaper",
        "`autopilot reaper`: ends leases beside each gobgpd",
        ("app.actuation", "app.bgp", "app.clock", "app.errors"),
    ),
    Room("app.telemetry", "`autopilot telemetry`: windows, detection, decision", ANYTHING, faust=True),
    Room("app.actuator", "`autopilot actuator`: decisions to the routers", ANYTHING, faust=True),
    Room("app.view", "`autopilot view`: the web page", ANYTHING),
    Room("app.reload", "a changed configuration is taken over at SIGHUP", (*BASE, "app.metrics")),
    Room("app.gauges", "gauges that are computed when they are scraped", ANYTHING, faust=True),
)
SHARED = (Room("app.te.cycle_state", "what one cycle hands to the next", BASE),)
PLAN = (*GROUND_FLOOR, *ROOMS, *ROOTS, *SHARED)


def drawn() -> str:
    """The plan as Markdown."""
    lines = ["| room | what lives here | may import, beside itself |", "|---|---|---|"]
    for title, rooms in (
        ("ground floor", GROUND_FLOOR),
        ("rooms, each above those it imports", ROOMS),
        ("roots, one a process, and the gauges they expose", ROOTS),
    ):
        lines.append(f"| **{title}** | | |")
        lines += [f"| `{path_of(room)}` | {room.lives_here} | {_imports(room)} |" for room in rooms]
    return "\n".join(lines) + "\n"


def path_of(room: Room) -> str:
    """As the tree shows it."""
    path = room.name.replace(".", "/")
    is_package = (Path(__file__).parents[1] / path).is_dir()
    return f"{path}/" if is_package else f"{path}.py"


def _imports(room: Room) -> str:
    if room.may_import == ANYTHING:
        return "anything below"
    shown = [name.removeprefix("app.") for name in room.may_import if name not in GROUND]
    return ", ".join(shown) or "nothing of ours"


def page(text: str) -> str:
    """The page with the plan as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + drawn() + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is drawn\n")
