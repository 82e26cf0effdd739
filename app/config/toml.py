"""Converts TOML to typed structs and lists every mistake, not only the first one."""

import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.errors import ConfigError

S = typing.TypeVar("S", bound=msgspec.Struct)


def read_toml(path: Path) -> dict[str, Any]:
    """Read the raw document; ConfigError if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        advice = "; name the settings file with --config or AUTOPILOT_CONFIG" if path.name == "autopilot.toml" else ""
        raise ConfigError([f"{path}: cannot be read: {error.strerror}{advice}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error


def convert(raw: Any, kind: type[S], where: str, problems: list[str]) -> S | None:
    """`raw` as `kind`, or None with every mistake appended to `problems` ("where.key: what is wrong")."""
    before = len(problems)
    values = _fields(raw, kind, where, problems)
    return kind(**values) if len(problems) == before else None


def _fields(raw: Any, kind: type[msgspec.Struct], where: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        problems.append(f"{where}: must be a table")
        return {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    problems.extend(f"{where}.{key}: {_unknown(key, kind, fields)}" for key in raw if key not in fields)
    problems.extend(f"{where}.{name}: missing" for name, field in fields.items() if field.required and name not in raw)
    return {
        field.name: _value(raw[name], field.type, f"{where}.{name}", problems)
        for name, field in fields.items()
        if name in raw
    }


def _unknown(key: str, kind: type[msgspec.Struct], fields: Iterable[str]) -> str:
    """What is wrong with an unknown key; a struct may list earlier names of its keys in RENAMED."""
    renamed: Mapping[str, str] = getattr(kind, "RENAMED", {})
    return f"was renamed to {renamed[key]}" if key in renamed else f"unknown key; known: {', '.join(fields)}"


def _value(raw: Any, wanted: Any, where: str, problems: list[str]) -> Any:
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return convert(raw, wanted, where, problems)
    if (item := _item_struct(wanted)) is not None and isinstance(raw, list):
        return tuple(convert(entry, item, f"{where}[{index}]", problems) for index, entry in enumerate(raw))
    if typing.get_origin(wanted) is typing.Literal and raw not in (allowed := typing.get_args(wanted)):
        problems.append(f"{where}: {raw!r} is not one of {', '.join(allowed)}")
        return None
    if isinstance(raw, str) and (words := _words(wanted)) and raw not in words:
        problems.append(f"{where}: {raw!r} is neither a number nor {', '.join(words)}")
        return None
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        problems.append(f"{where}: {str(error)[:1].lower()}{str(error)[1:]}")
        return None


def _words(wanted: Any) -> tuple[str, ...]:
    """The words that stand beside a number in a type such as `float | Literal["auto"]`; else none."""
    kinds = typing.get_args(wanted) if typing.get_origin(wanted) in (typing.Union, types.UnionType) else ()
    literals = [typing.get_args(kind) for kind in kinds if typing.get_origin(kind) is typing.Literal]
    return literals[0] if literals else ()


def _item_struct(wanted: Any) -> type[msgspec.Struct] | None:
    """The struct S of `tuple[S, ...]`, else None."""
    if isinstance(wanted, types.GenericAlias) and typing.get_origin(wanted) is tuple:
        item = typing.get_args(wanted)[0]
        if isinstance(item, type) and issubclass(item, msgspec.Struct):
            return item
    return None
