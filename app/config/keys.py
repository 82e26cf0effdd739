"""Which keys a file may have: the tables of a type, and what is wrong with a key that none of them has."""

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

NEAR = 0.7  # of difflib: a letter more or less, a singular, a unit left out


def tables_of(root: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """(TOML path, struct) of a table and of all tables in it; lists of tables end with []."""
    yield path, root
    for field in msgspec.structs.fields(root):
        for kind, suffix in structs_in(field.type):
            yield from tables_of(kind, f"{path}.{field.encode_name}{suffix}".removeprefix("."))


def structs_in(annotation: Any) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The struct of a table, or of the tables of a list with [] beside it; nothing for any other type."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield annotation, ""
    elif typing.get_origin(annotation) is tuple:
        item = typing.get_args(annotation)[0]
        if isinstance(item, type) and issubclass(item, msgspec.Struct):
            yield item, "[]"


def title(path: str) -> str:
    """How a table of this path begins in a file."""
    name = path.replace("[]", "")
    return f"[[{name}]]" if path.endswith("[]") else f"[{name}]"


def unknown_keys(raw: Mapping[str, Any], root: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) of each key that its table does not have, in the whole document."""
    yield from _unknown(raw, root, "", root)


def _unknown(
    raw: Mapping[str, Any], kind: type[msgspec.Struct], path: str, root: type[msgspec.Struct]
) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in raw:
        if key not in fields:
            yield (f"{path}.{key}" if path else key), _advice(key, kind, list(fields), root)
    for key, field in fields.items():
        for inner, _ in structs_in(field.type):
            value, at = raw.get(key), f"{path}.{key}" if path else key
            tables = [(at, value)]
            if isinstance(value, list):
                tables = [(f"{at}[{index}]", item) for index, item in enumerate(value)]
            for place, table in tables:
                if isinstance(table, Mapping):
                    yield from _unknown(table, inner, place, root)


def _advice(key: str, kind: type[msgspec.Struct], fields: list[str], root: type[msgspec.Struct]) -> str:
    """What is wrong with an unknown key; a struct may list earlier names of its keys in RENAMED."""
    renamed: Mapping[str, str] = getattr(kind, "RENAMED", {})
    if key in renamed:
        return f"was renamed to {renamed[key]}"
    if near := difflib.get_close_matches(key, fields, n=1, cutoff=NEAR):
        return f"unknown key; did you mean {near[0]}?"
    elsewhere = [path for path, other in tables_of(root) if key in other.__struct_encode_fields__]
    if elsewhere:
        places = " or ".join(
            title(path) if path else "the top of the file, above the first [table]" for path in elsewhere
        )
        return f"unknown key here; it belongs to {places}"
    return f"unknown key; known: {', '.join(fields)}"
