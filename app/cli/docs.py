"""Writes docs/reference/command-line.md from the commands themselves: `python -m app.cli.docs`."""

from collections.abc import Iterator
from pathlib import Path

import click

from app.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
HEAD = """# Command line

This page is made from the commands themselves (`make docs`). `autopilot COMMAND --help` prints the same.

"""
EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed: no broker, a daemon that does not answer, `check` found problems, a demo whose bounds do not hold |
| 2 | wrong usage or configuration |
| 70 | a worker ended itself before its counts could become wrong, or because it stood still: start it again |
| 75 | a worker ended itself because it had been frozen for more than half its session with the broker: start it again |

With `--json` the last line on stdout is one JSON document, and logs go to stderr. An error is a document too:
`{"ok": false, "error": "...", "problems": [...]}`, where `problems` lists the mistakes of a configuration one by one.
"""


def page() -> str:
    """Return the whole page: one section per command, in alphabetical order."""
    context = click.Context(main, info_name="autopilot")
    sections = [_section(command, of) for command, of in _commands(main, context)]
    return HEAD + "\n".join(sections) + "\n" + EXIT_CODES


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """The commands of a group and of the groups in it, in alphabetical order, each with its context."""
    for name, command in sorted(group.commands.items()):
        of = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, of)
        else:
            yield command, of


def _section(command: click.Command, context: click.Context) -> str:
    name = context.command_path.removeprefix("autopilot ")
    summary = " ".join((command.help or "").split())
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [_row(option) for option in command.params if isinstance(option, click.Option)]
    table = "| option | meaning | default |\n|---|---|---|\n" + "".join(rows) if rows else ""
    return f"## {name}\n\n`{usage}`\n\n{summary}\n\n{table}"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    metavar = option.make_metavar(click.Context(main)).replace("|", r"\|")  # of a choice, in a column of a table
    value = "" if option.is_flag else f" {metavar}"
    variable = f" (or `{option.envvar}`)" if option.envvar else ""
    default = "" if option.is_flag or option.default is None or not option.show_default else f"`{option.default}`"
    shown = "required" if option.required else default
    return f"| {names}{value}{variable} | {option.help or ''} | {shown} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
