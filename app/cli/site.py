"""`autopilot site add`: a new PoP is one line in one list, and one file.

The list is `pops` of the settings file, or of the values of the Helm chart. Both are edited as texts, so that comments
and order stay as people wrote them; what comes out is read again before anything is written.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import click

from app.cli.output import errors
from app.config import inventory_rules
from app.config.interfaces import numbered
from app.config.inventory import Pop
from app.config.inventory_rules import between
from app.config.toml import Problem, TomlTable, parse, read_toml
from app.errors import ConfigError, EnvironmentProblem

CHART = Path("deploy/helm/autopilot")
IS_CHART_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?").fullmatch
BY_HAND = "write the line yourself"


@click.group()
def site() -> None:
    """Add PoPs to a deployment."""


@site.command("add")
@click.argument("pop")
@click.option("--inventory", required=True, type=click.Path(path_type=Path), help="Inventory of the PoP.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="autopilot.toml",
    show_default=True,
    envvar="AUTOPILOT_CONFIG",
    show_envvar=True,
    help="Path of the settings file whose `pops` gets the line; the inventory goes beside it.",
)
@click.option(
    "--values",
    type=click.Path(path_type=Path),
    help="Values of the Helm chart whose `pops` gets the line, instead of a settings file.",
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path),
    default=CHART,
    show_default=True,
    help="With --values: the chart; the inventory goes into its folder `inventories`.",
)
@click.option("--mode", type=click.Choice(["observe", "dry-run", "auto"]), help="With --values: the mode of this PoP.")
def add(pop: str, inventory: Path, config: Path, values: Path | None, chart: Path, mode: str | None) -> None:
    """Add a PoP: write its name into one list, and its inventory into one file.

    Nothing is written if the inventory has a mistake, or contradicts that of another PoP in the list.
    """
    if mode is not None and values is None:
        raise click.UsageError("--mode needs --values: a settings file has one mode for all of its PoPs")
    text = _read(inventory)
    table = _checked(pop, inventory)
    if values is not None:
        if not IS_CHART_NAME(pop):
            raise ConfigError([f"{pop}: in the chart, the name of a PoP has at most 30 small letters, digits, hyphens"])
        if not chart.is_dir():
            raise click.UsageError(f"--chart {chart}: no such folder; run this in the checkout, or give its path")
        listed, folder = values, chart / "inventories"
        changed, others = with_entry(_read(values), pop, mode)
    else:
        listed, folder = config, config.parent
        changed, others = with_file(_read(config), f"{pop}.toml")
    _contradictions(pop, table, {name: folder / name for name in others})
    to = folder / f"{pop}.toml"
    if to.exists() and to.resolve() != inventory.resolve() and _read(to) != text:
        raise ConfigError([f"{to}: is there already, and differs from {inventory}; remove one of them"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8")
        _replace(listed, changed)
    except OSError as error:
        raise EnvironmentProblem(f"{error.filename}: {error.strerror}") from error
    errors.print(f"wrote {to}, and {pop} into pops of {listed}", markup=False, highlight=False)


def with_file(text: str, file: str) -> tuple[str, list[str]]:
    """A settings file with one more inventory in `pops`, and the files that are there before; ConfigError if it is."""
    settings = tomllib.loads(text)
    before = list(settings.get("pops", ()))
    if file in before:
        raise ConfigError([f"pops: {file} is there already"])
    if begin := re.search(r"^pops\s*=\s*\[", text, re.MULTILINE):
        head, tail = text[: begin.end()], text[begin.end() :]
        for bracket in re.finditer(r"\]", tail):
            changed = head + _longer(tail[: bracket.start()], file) + tail[bracket.start() :]
            try:
                if tomllib.loads(changed) == settings | {"pops": [*before, file]}:
                    return changed, before
            except tomllib.TOMLDecodeError:
                continue  # that bracket is in a comment or a name
    raise ConfigError([f'pops: how it is written is not understood; {BY_HAND}: "{file}"'])


def _longer(items: str, file: str) -> str:
    """What stands between the brackets of a list, with one more name, on a line of its own if the others are."""
    last = re.sub(r"\s*(#[^\n]*)?\s*\Z", "", items)
    comment, comma = items[len(last) :], "," if last and not last.endswith(",") else ""
    if indent := re.search(r"\n([ \t]+)\S[^\n]*\Z", last):
        return f'{last}{comma}{comment.rstrip()}\n{indent[1]}"{file}",{comment[len(comment.rstrip()) :]}'
    return f'{last}{comma}{" " if last else ""}"{file}"{comment}'


def with_entry(text: str, pop: str, mode: str | None = None) -> tuple[str, list[str]]:
    """Values of the chart with one more entry in `pops`, and the inventories of those before; ConfigError if it is."""
    lines = text.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if re.match(r"pops:\s*(\[\s*\])?\s*(#.*)?$", line)]
    if len(begins) != 1:
        raise ConfigError([f"pops: is not the head of a list with an entry a line; {BY_HAND}: - name: {pop}"])
    begin, end = begins[0], len(lines)
    for number in range(begin + 1, len(lines)):
        if re.match(r"[^\s#-]", lines[number]):
            end = number
            break
    block = lines[begin + 1 : end]
    names = [name for line in block if (name := re.match(r"\s*-\s+\{?\s*name:\s*[\"']?([a-z0-9-]+)", line))]
    if any(name[1] == pop for name in names):
        raise ConfigError([f"pops: {pop} is there already"])
    used = [number for number, line in enumerate(block) if re.match(r"\s*[^\s#]", line)]
    dash = next((line[: line.index("-")] for line in block if re.match(r"\s*-\s", line)), "  ")
    entry = [f"{dash}- name: {pop}\n", *([f"{dash}  mode: {mode}\n"] if mode else [])]
    at = begin + 1 + (used[-1] + 1 if used else 0)
    lines[begin] = re.sub(r"\s*\[\s*\]", "", lines[begin])
    if lines[at - 1 : at] and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join([*lines[:at], *entry, *lines[at:]]), [f"{name[1]}.toml" for name in names]


def _checked(pop: str, inventory: Path) -> TomlTable:
    problems: list[Problem] = []
    table = parse(numbered(read_toml(inventory), problems), Pop, problems)
    problems.extend(inventory_rules.rules(table))
    if table.get("name") not in (None, pop):
        problems.append(Problem("name", f"{table.get('name')!r} is not {pop!r}; write the name that you add"))
    if problems:
        raise ConfigError([problem.in_file(inventory.name) for problem in problems])
    return table


def _contradictions(pop: str, table: TomlTable, others: Mapping[str, Path]) -> None:
    """ConfigError if what only one PoP may have is another's already."""
    tables = {}
    for name, path in others.items():
        ignored: list[Problem] = []  # `check` lists them
        tables[name] = parse(numbered(read_toml(path), ignored), Pop, ignored)
    tables[f"{pop}.toml"] = table
    if mistakes := [problem.in_file(name) for name, problem in between(tables, {}) if name == f"{pop}.toml"]:
        raise ConfigError(mistakes)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {getattr(error, 'strerror', None) or 'is not text in UTF-8'}"]) from error


def _replace(path: Path, text: str) -> None:
    """Write the whole file or nothing of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
