"""Rules of the house that a machine can hold: import arrows, banned calls, sizes, and documents that keep up."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from app import metrics
from app.cli.check import foreign_packages

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "agents", "tables")
GENERATED = "app/bgp/proto/"
LINES_MAX, FUNCTION_LINES_MAX = 400, 70

# A module may import only what stands in its row; the longest matching name counts. Composition roots may all.
PURE = ("app.errors", "app.clock", "app.contract.schemas", "app.config.toml", "app.config.inventory")
ARROWS = {
    "app.errors": (),
    "app.clock": (),
    "app.contract": ("app.contract",),
    "app.metrics": (),
    "app.native": (),
    "app.logs": ("app.clock",),
    "app.config": ("app.config", "app.logs", *PURE),
    "app.te": ("app.te", "app.native", "app.config.thresholds", *PURE),
    "app.feeds": ("app.feeds", "app.te", "app.native", "app.config.thresholds", *PURE),
    "app.bgp": ("app.bgp", "app.te", *PURE),
    "app.actuation": ("app.actuation", "app.bgp", "app.te", "app.metrics", *PURE),
    "app.stream": (
        "app.stream",
        "app.feeds.rejected",
        "app.config.settings",
        "app.contract",
        "app.kafka",
        "app.metrics",
        "tables.store",
        *PURE,
    ),
    "app.web": ("app.web", *PURE),
    "app.lab.pop": ("app.lab.pop", "app.bgp", *PURE),
    "app.kafka": ("app.kafka", "app.config", "app.contract", *PURE),
    "app.lab.daemons": (
        "app.lab.daemons",
        "app.kafka",
        "app.lab.pop.model",
        "app.lab.pop.vty",
        "app.config.settings",
        "app.contract",
        *PURE,
    ),
    "tables": ("tables", "app.te", "app.feeds", "app.contract.schemas", "app.errors"),
    "agents": (
        "tables",
        "app.te",
        "app.feeds",
        "app.stream",
        "app.config",
        "app.contract",
        "app.metrics",
        *PURE,
    ),
}
ROOTS = (
    "app.cli",
    "app.__main__",
    "app.telemetry",
    "app.actuator",
    "app.view",
    "app.lab",
    "app.gauges",
    "app.simulation",
)
MAY_IMPORT_FAUST = (
    "app.stream",
    "app.web",
    "agents",
    "tables",
    "app.telemetry",
    "app.actuator",
    "app.gauges",
    "app.simulation",
)

BANNED = {
    "time.time": "app.clock: time enters as an argument",
    "time.monotonic": "app.clock: time enters as an argument",
    "time.sleep": "await a condition, or asyncio.sleep",
    "datetime.now": "app.clock",
    "datetime.utcnow": "app.clock",
    "pickle.loads": "msgspec: pickle runs what it reads",
    "os._exit": "app.stream.fence.die",
}
CLIENTS = "app/kafka/client.py"
MAY_CALL = {"app/clock.py": {"time.time", "time.monotonic"}, "app/stream/fence.py": {"os._exit"}}


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if GENERATED not in path.as_posix()]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module in PACKAGES
            yield from (f"{node.module}.{alias.name}" for alias in node.names) if inside else [node.module]


def arrow_problems(module: str, source: str) -> list[str]:
    imported = list(imports_of(ast.parse(source)))
    problems = []
    if not within(module, MAY_IMPORT_FAUST):
        problems = [f"{module} imports {name}" for name in imported if within(name, ("faust", "mode"))]
    if module in PACKAGES:
        return problems
    row = max((name for name in (*ARROWS, *ROOTS) if within(module, (name,))), key=len, default=None)
    if row in ROOTS:
        return problems
    if row is None:
        return [*problems, f"{module}: has no row in ARROWS"]
    ours = [name for name in imported if within(name, PACKAGES)]
    return problems + [f"{module} imports {name}" for name in ours if not within(name, ARROWS[row])]


def banned_calls(path: str, source: str) -> list[str]:
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = {ast.unparse(function) for function in calls} & BANNED.keys()
    return [f"{path} calls {name}: use {BANNED[name]}" for name in sorted(names - MAY_CALL.get(path, set()))]


def kafka_clients(path: str, source: str) -> list[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    made = [name for name in calls if name.rsplit(".", 1)[-1].startswith("AIOKafka") and path != CLIENTS]
    return [f"{path} makes {name}: use app.kafka.client" for name in made]


def long_functions(path: str, source: str) -> list[str]:
    return [
        f"{path}:{node.lineno} {node.name}: {length} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def test_imports_point_one_way() -> None:
    found = [problem for path in sources(*PACKAGES) for problem in arrow_problems(module_of(path), path.read_text())]
    assert found == []


def test_clocks_exits_and_sleeps_are_in_their_place() -> None:
    found = [
        problem
        for path in sources(*PACKAGES, "tests")
        for problem in banned_calls(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert found == []


def test_every_kafka_client_comes_through_one_door() -> None:
    """Else one of them would one day connect without TLS."""
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sources(*PACKAGES)}
    assert [problem for path, source in files.items() for problem in kafka_clients(path, source)] == []
    assert "AIOKafka" in files[CLIENTS]


def test_files_and_functions_stay_small() -> None:
    files = sources(*PACKAGES, "tests")
    long_files = [
        f"{path}: {lines} lines" for path in files if (lines := len(path.read_text().splitlines())) > LINES_MAX
    ]
    assert long_files == []
    assert [problem for path in files for problem in long_functions(str(path), path.read_text())] == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in sources(*PACKAGES)
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_tests_folder_is_a_package() -> None:
    """Else tests/agents would shadow agents."""
    folders = {path.parent for path in sources("tests")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    kinds = (Counter, Gauge, Histogram)
    declared = {metric._name for metric in vars(metrics).values() if isinstance(metric, kinds)}
    documented = set(re.findall(r"^\| `(autopilot_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert declared == documented


def test_nobody_else_owns_our_package_names() -> None:
    assert foreign_packages() == []


def test_no_file_says_where_packages_are_downloaded_from() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    hosts = re.compile(
        r"--(extra-)?index-url|files\.pythonhosted|repo1?\.maven|registry\.npmjs|proxy\.golang|deb\.debian"
    )
    named = [
        name
        for name in tracked
        if name != "tests/test_tidy.py" and hosts.search((ROOT / name).read_text(errors="replace"))
    ]
    assert named == []


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (lambda source: arrow_problems("app.te.decision.cycle", source), "from agents.flows import attach"),
        (lambda source: arrow_problems("app.te.decision.cycle", source), "import faust"),
        (lambda source: arrow_problems("app.lab.pop.run", source), "from app import telemetry"),
        (lambda source: banned_calls("app/te/decision/cycle.py", source), "import time\ntime.time()"),
        (lambda source: kafka_clients("app/view.py", source), "import aiokafka\naiokafka.AIOKafkaProducer()"),
        (lambda source: long_functions("x.py", source), "def f():\n" + "    pass\n" * 70),
    ],
)
def test_the_checks_can_fail(check: object, source: str) -> None:
    assert callable(check)
    assert check(source)
