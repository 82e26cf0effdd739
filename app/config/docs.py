"""Writes docs/reference/settings.md and inventory.md from the types: `python -m app.config.docs`.

The text of a key is the string below its field. What follows "Change:" says when to change it.
"""

import ast
import inspect
import types
import typing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app.config.inventory import Pop
from app.config.keys import structs_in, tables_of, title
from app.config.settings import Settings

DOCS = Path(__file__).parents[2] / "docs" / "reference"
HEADS: dict[type[msgspec.Struct], str] = {
    Settings: """# Settings

Every key of `autopilot.toml`. This page is generated from the types (`make docs`); `autopilot check --offline --dump`
prints the values in effect. An unknown key is an error; for a renamed key the error names the new one.
""",
    Pop: """# Inventory

Every key of a PoP's file. This page is generated from the types (`make docs`); `autopilot check --offline` lists all
mistakes of all files at once. [Your own network](../operator/own-network.md) has an example, and
`deploy/local/rhv1000.toml` is the demo's PoP of two routers.
""",
}
PAGES: dict[type[msgspec.Struct], Path] = {Settings: DOCS / "settings.md", Pop: DOCS / "inventory.md"}


class Key(NamedTuple):
    """One key of a table: its type and default as TOML shows them, what it means, and when to change it."""

    name: str
    kind: str
    default: str
    meaning: str
    change: str


def page(root: type[msgspec.Struct]) -> str:
    """The page of a file whose top level is `root`: one section per table."""
    sections = [f"## {_title(path)}\n\n{_table(kind)}" for path, kind in tables_of(root)]
    return "\n".join([HEADS[root], *sections])


def keys_of(kind: type[msgspec.Struct]) -> list[Key]:
    """Every key of a table, in the order of its fields."""
    texts = _texts(kind)
    keys = []
    for field in msgspec.structs.fields(kind):
        meaning, _, change = texts.get(field.name, "").partition(" Change: ")
        keys.append(Key(field.encode_name, _kind(field.type), _default(field), meaning, change))
    return keys


def _title(path: str) -> str:
    if not path:
        return "Top level"
    return f"`{title(path)}`"


def _table(kind: type[msgspec.Struct]) -> str:
    rows = (f"| `{key.name}` | {key.kind} | {key.default} | {key.meaning} | {key.change} |\n" for key in keys_of(kind))
    head = "| key | type | default | meaning | when to change it |\n|---|---|---|---|---|\n"
    return head + "".join(rows)


def _texts(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The string below each field in the source, by field name."""
    [definition] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        is_field = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if is_field and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            texts[typing.cast(Any, field).target.id] = " ".join(str(below.value.value).split())
    return texts


def _kind(annotation: Any) -> str:
    """The type in the words of someone who writes TOML."""
    names = {str: "text", int: "number", float: "number", bool: "true or false", datetime: "date with time"}
    if annotation in names:
        return names[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        kinds = (meta.extra["kind"] for meta in arguments[1:] if meta.extra and "kind" in meta.extra)
        return next(kinds, None) or _kind(arguments[0])
    if origin is typing.Literal:
        return "text"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return "list of tables" if any(structs_in(annotation)) else f"list of {_kind(arguments[0])}"
    return "table"


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default
    if field.required:
        return "required"
    if default is None or isinstance(default, msgspec.Struct) or default in ({}, ()):
        return "none" if default is None else ""
    if default is msgspec.NODEFAULT:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default:g}`"


def main() -> None:
    """Write both pages."""
    for root, path in PAGES.items():
        path.write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    main()
