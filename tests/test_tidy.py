"""Rules of the house that a machine can hold: its plan, banned calls, sizes, names, and documents that keep up."""

import ast
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import prometheus_client
import pytest

from app import metrics
from app.cli.check import foreign_packages
from tests.plan import GROUND_FLOOR, PAGE, PLAN, ROOTS, Room, page, path_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "agents", "tables")
GENERATED = "app/bgp/proto/"
LINES_MAX, FUNCTION_LINES_MAX, ARGUMENTS_MAX = 400, 70, 6

SAME_FILE_NAMES = {
    "actuator.py",  # the root, and its twin in app/simulation; so is telemetry.py
    "client.py",  # of GoBGP and of Kafka
    "collectors.py",  # real ones in app/lab, simulated ones in app/simulation
    "counters.py",  # decoded in app/feeds, turned into rates in app/te/traffic
    "docs.py",  # the pages made from each package
    "forwarding.py",  # by routers in app/te/routing, of packets in app/lab/pop
    "gobgp.py",  # the speaker in app/bgp, the daemon in app/lab/daemons
    "natural.py",  # as we compute it in app/te/routing, the truth in app/lab/pop
    "report.py",  # of the simulated PoP, of a run of seeds
    "run.py",  # of the demo, of the simulated PoP, of a seed
    "telemetry.py",
    "truth.py",  # written by app/lab/pop, shown by app/web
    "worker.py",  # Faust's in app/stream, its stand-in in app/simulation
}

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
DECODING = "app/contract/decoding.py"
MAY_DECODE = {
    DECODING,
    *(f"app/feeds/{name}.py" for name in ("flows", "counters", "bmp")),  # through decode_or_rejected
    "app/lab/pop/ribs.py",  # what vtysh prints
    "app/lab/demo/state_client.py",  # what a worker of the demo answers
    "app/simulation/oracle.py",  # what the simulation itself wrote
}
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


def room_of(module: str) -> Room | None:
    """The innermost room of the plan that a module stands in."""
    rooms = [room for room in PLAN if within(module, (room.name,))]
    return max(rooms, key=lambda room: len(room.name), default=None)


def arrow_problems(module: str, source: str) -> list[str]:
    if module in PACKAGES:
        return []
    if (room := room_of(module)) is None:
        return [f"{module} stands in no room of tests/plan.py"]
    imported = list(imports_of(ast.parse(source)))
    problems = [f"{module} imports {name}" for name in imported if within(name, ("faust", "mode")) and not room.faust]
    ours = [name for name in imported if within(name, PACKAGES)]
    return problems + [f"{module} imports {name}" for name in ours if not within(name, (room.name, *room.may_import))]


def circles(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not (Tarjan, 1972)."""
    found: list[list[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in imports.get(module, ()):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            found.extend([sorted(group)] if len(group) > 1 else [])

    for module in imports:
        if module not in number:
            visit(module)
    return found


def module_imports(files: Mapping[str, str]) -> dict[str, set[str]]:
    """By module, the modules of ours that it imports; `from app.te import x` may name a module or what is in it."""
    return {
        module: {name for name in _candidates(source) if name in files} - {module} for module, source in files.items()
    }


def _candidates(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def repeated_classes(files: Mapping[str, str]) -> list[str]:
    where: dict[str, list[str]] = defaultdict(list)
    for path, source in files.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(path)
    return [f"class {name} in {', '.join(paths)}" for name, paths in where.items() if len(paths) > 1]


def many_arguments(path: str, source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
            if len(names) > ARGUMENTS_MAX:
                found.append(f"{path}:{node.lineno} {node.name}: {len(names)} arguments")
    return found


def banned_calls(path: str, source: str) -> list[str]:
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = {ast.unparse(function) for function in calls} & BANNED.keys()
    return [f"{path} calls {name}: use {BANNED[name]}" for name in sorted(names - MAY_CALL.get(path, set()))]


def kafka_clients(path: str, source: str) -> list[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    made = [name for name in calls if name.rsplit(".", 1)[-1].startswith("AIOKafka") and path != CLIENTS]
    return [f"{path} makes {name}: use app.kafka.client" for name in made]


def decoders(path: str, source: str) -> list[str]:
    calls = (ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    made = sorted({name for name in calls if name in ("msgspec.json.decode", "msgspec.json.Decoder")})
    return [f"{path} calls {name}: use app.contract.decoding" for name in made if path not in MAY_DECODE]


def long_functions(path: str, source: str) -> list[str]:
    return [
        f"{path}:{node.lineno} {node.name}: {length} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def product() -> dict[str, str]:
    """Source by module."""
    return {module_of(path): path.read_text() for path in sources(*PACKAGES)}


def test_imports_point_one_way() -> None:
    found = [problem for module, source in product().items() for problem in arrow_problems(module, source)]
    assert found == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(module_imports(product())) == []


def test_a_class_name_stands_for_one_thing() -> None:
    assert repeated_classes(product()) == []


def test_a_file_name_says_what_is_in_it() -> None:
    """Names that occur more than once are listed here: the folder must make the difference plain."""
    names = Counter(path.name for path in sources("app"))
    assert {name for name, count in names.items() if count > 1 and name != "__init__.py"} == SAME_FILE_NAMES


def test_only_the_ground_floor_and_the_roots_stand_loose() -> None:
    loose = {f"app.{path.stem}" for path in (ROOT / "app").glob("*.py") if path.stem != "__init__"}
    assert loose == {room.name for room in (*GROUND_FLOOR, *ROOTS)} - {"app.native"}


def test_the_page_shows_the_plan() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run: python -m tests.plan"


@pytest.mark.parametrize(
    "room",
    [room for room in PLAN if path_of(room).endswith("/") and room.name != "app.native"],
    ids=lambda room: room.name,
)
def test_a_room_says_what_lives_in_it_and_how_to_read_it(room: Room) -> None:
    folder = ROOT / path_of(room)
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert len(said.splitlines()) >= 3, "what lives here, what it may import, in which order to read it"
    _, _, order = said.partition("Read: ")
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    packages = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"[a-z_0-9]+", order.partition(".")[0])) == modules | packages


def test_functions_have_few_arguments() -> None:
    found = [problem for module, source in product().items() for problem in many_arguments(module, source)]
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


def test_every_record_is_read_by_one_function() -> None:
    """Each reader's own idea of what decoding may raise ended processes: one byte that is not UTF-8, for good."""
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sources(*PACKAGES)}
    assert [problem for path, source in files.items() for problem in decoders(path, source)] == []
    assert all("decode_or_rejected(_decode" in files[path] for path in MAY_DECODE if path.startswith("app/feeds/"))


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
    kinds = (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)
    declared = {metric._name for metric in vars(metrics).values() if isinstance(metric, kinds)}
    documented = set(
        re.findall(r"^\| `(autopilot_\w+)`", (ROOT / "docs" / "reference" / "metrics.md").read_text(), re.MULTILINE)
    )
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
        (lambda source: decoders("app/view.py", source), "import msgspec\nmsgspec.json.Decoder(dict)"),
        (lambda source: decoders("agents/flows.py", source), "import msgspec\nmsgspec.json.decode(b'')"),
        (lambda source: long_functions("x.py", source), "def f():\n" + "    pass\n" * 70),
    ],
)
def test_the_checks_can_fail(check: object, source: str) -> None:
    assert callable(check)
    assert check(source)


def test_tests_that_share_a_stack_share_a_worker(request: pytest.FixtureRequest) -> None:
    """Else each worker starts the same daemons; pytest-xdist does not say that it ignores groups."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = [item for item in request.session.items if "stack" in getattr(item, "fixturenames", ())]
        assert [item.name for item in shared if not item.nodeid.endswith("@stack")] == [], "use --dist loadgroup"
