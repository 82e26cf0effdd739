"""Reads TOML into typed structs. Every mistake is listed, not only the first one, with its key, value and remedy.

A type may carry a rule (see app/config/forms.py): it checks a value as soon as its type is right, and may rewrite it.
What could be read is kept beside the mistakes, so that rules between keys still see the keys that are right.
"""

import re
import tomllib
import types
import typing
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from app.config.keys import structs_in, unknown_keys
from app.errors import ConfigError

S = typing.TypeVar("S", bound=msgspec.Struct)

SHOWN_MAX = 60  # characters of a value in a message
LARGEST_SHOWN = 10**100  # Python writes no number of more than some thousand decimal digits
TYPES: dict[type, tuple[str, str]] = {  # what a value is, and how to write one
    bool: ("true or false", "true or false, without quotes"),
    int: ("a whole number", "a whole number, without quotes and without a point"),
    float: ("a number", "a number, without quotes"),
    str: ("text", "text in quotes"),
    list: ("a list", "a list in brackets, [...]"),
    dict: ("a table", "a table, { key = value }"),
    datetime: ("a date or time", "a date with a time and a zone, such as 2026-12-01T00:00:00Z, without quotes"),
}
SYNTAX = {  # by how the parser's own message begins
    "Cannot overwrite": "a key is given twice",
    "Cannot declare": "a table is given twice; where there may be several, each begins with [[name]]",
    "Expected newline": "one key a line; a number has no leading zero, no unit and no comma; 10 Gb/s are 10e9",
    "Invalid initial character": "inside { } there is no line break, and no comma after the last value",
    "Unclosed inline table": "inside { } there is no line break, and no comma after the last value",
    "Invalid date": "there is no such date or time",
    "Expected '='": "a line is a key, an = and a value",
    "Invalid value": 'after = comes text in straight quotes ("), a number, true, false, a [list] or a {table}',
}


class Problem(NamedTuple):
    """A mistake: the path of its key, such as `link[3].sessions[0].asn`, and what is wrong and what to write."""

    path: str
    text: str

    def in_file(self, name: str) -> str:
        """The mistake as one line that names the file, too."""
        return _one_line(f"{name}.{self.path}: {self.text}" if self.path else f"{name}: {self.text}")

    def __str__(self) -> str:
        return _one_line(f"{self.path}: {self.text}" if self.path else self.text)


def _one_line(text: str) -> str:
    """A text that no key or name in it can colour, break or turn round."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class Items(dict[Any, Any]):
    """What could be read of a list, by index, or of a table of values, by key; `given` are all that were there."""

    def __init__(self, values: Mapping[Any, Any], given: Collection[Any]) -> None:
        super().__init__(values)
        self.given = given


class TomlTable:
    """What could be read of one table: its values by key, with defaults. A key whose value is wrong is absent."""

    def __init__(self, path: str, values: Mapping[str, Any], written: Mapping[str, Any]) -> None:
        self.path = path
        self._values = values
        self._written = written

    def at(self, key: str) -> str:
        """The path of a key of this table."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> Any:
        """The value of a key; None if it is absent, or None by default."""
        return self._values.get(key)

    def written(self, key: str) -> Any:
        """What stands at a key in the file, right or wrong; None if nothing does."""
        return self._written.get(key)

    def has(self, *keys: str) -> bool:
        """Whether all these keys could be read."""
        return all(key in self._values for key in keys)

    def table(self, key: str) -> "TomlTable":
        """The table of this name; an empty one if it could not be read."""
        return self._values.get(key) or TomlTable(self.at(key), {}, {})

    def each(self, key: str) -> Iterator[tuple[str, Any]]:
        """(path, value) of every item of a list, or of every entry of a table of values, that could be read."""
        items: Items | None = self._values.get(key)
        for name, value in items.items() if items else ():
            yield (f"{self.at(key)}[{name}]" if isinstance(name, int) else f"{self.at(key)}.{name}"), value

    def tables(self, key: str) -> list["TomlTable"]:
        """The tables of a list of tables that are tables at all."""
        return [value for _, value in self.each(key) if isinstance(value, TomlTable)]

    def given(self, key: str) -> Collection[Any] | None:
        """The indices of a list, or the keys of a table of values, right or wrong; None if it is neither."""
        items: Items | None = self._values.get(key)
        return None if items is None else items.given

    def is_empty(self, key: str) -> bool:
        """Whether nothing stands in a list or table of values."""
        given = self.given(key)
        return given is not None and not given


def read_toml(path: Path) -> dict[str, Any]:
    """Read the raw document, with or without a byte order mark; ConfigError if it cannot be read or is not TOML."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        advice = "; name the settings file with --config or AUTOPILOT_CONFIG" if path.name == "autopilot.toml" else ""
        raise ConfigError([f"{path}: cannot be read: {error.strerror}{advice}"]) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; {_SAVE}"]) from error
    if "\0" in text:
        raise ConfigError([f"{path}: not a text in UTF-8 (UTF-16, or no text at all); {_SAVE}"])
    try:
        return tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: {_syntax(text, str(error))}"]) from error
    except ValueError:  # of int(): Python converts no more digits (CVE-2020-10735)
        line = next((number for number, line in enumerate(text.splitlines(), 1) if _LONG_NUMBER.search(line)), 0)
        raise ConfigError([f"{path}: line {line}: a number has thousands of digits"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: its lists or tables are nested too deep"]) from None


_SAVE = "save the file as UTF-8"
_LONG_NUMBER = re.compile(r"[0-9_]{4000}")


def _syntax(text: str, said: str) -> str:
    """Where a document stops being TOML, and why, in words of our own."""
    lines = text.splitlines() or [""]
    place = re.search(r"at line (\d+)", said)
    number = int(place[1]) if place else len(lines)
    line = lines[min(number, len(lines)) - 1].strip()
    where = f"line {number}: {_shown(line)}" if place else "at its end"
    meaning = next((words for begin, words in SYNTAX.items() if said.startswith(begin)), "check quotes and brackets")
    odd = next((sign for sign in line if sign > "~"), None)
    what = f" (it has U+{ord(odd):04X}, {unicodedata.name(odd, 'no letter').lower()})" if odd else ""
    return f"not valid TOML: {where}{what}; {meaning}"


def convert(raw: Any, kind: type[S], where: str, problems: list[str]) -> S | None:
    """`raw` as `kind`, or None with every mistake appended to `problems` ("where.key: what is wrong")."""
    found: list[Problem] = []
    table = parse(raw, kind, found)
    problems.extend(problem.in_file(where) for problem in found)
    return None if found else build(table, kind)


def parse(raw: Any, kind: type[msgspec.Struct], problems: list[Problem], path: str = "") -> TomlTable:
    """What can be read of `raw` as a table of `kind`; every mistake is appended to `problems`."""
    if not isinstance(raw, Mapping):
        problems.append(_wrong(path, raw, dict))
        return TomlTable(path, {}, {})
    table = TomlTable(path, values := {}, raw)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if not path:
        problems.extend(Problem(*unknown) for unknown in unknown_keys(raw, kind))
    for name, field in fields.items():
        if name in raw:
            value = _value(raw[name], field.type, table.at(name), problems)
            if value is not _WRONG:
                values[name] = value
        elif field.required:
            problems.append(Problem(table.at(name), f"is missing; write {_instead(field.type)}"))
        else:
            values[name] = _default(field, table.at(name))
    return table


def parse_again(struct: msgspec.Struct, problems: list[Problem]) -> TomlTable:
    """A struct as the table that it would be in a file; what a file may not contain is appended to `problems`."""
    return parse(_raw(struct), type(struct), problems)


def build(table: TomlTable, kind: type[S]) -> S:
    """The struct of a table in which nothing was wrong."""
    return kind(
        **{
            field.name: _built(table.get(field.encode_name), _plain(field.type)[0])
            for field in msgspec.structs.fields(kind)
        }
    )


_WRONG = object()


def _default(field: msgspec.structs.FieldInfo, path: str) -> Any:
    default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return None if default is None else _value(_raw(default), field.type, path, [])


def _raw(value: Any) -> Any:
    """A value as the TOML reader would give it; keys that are None are left out."""
    if isinstance(value, msgspec.Struct):
        pairs = ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {name: _raw(one) for name, one in pairs if one is not None}
    if isinstance(value, Mapping):
        return {key: _raw(one) for key, one in value.items()}
    return [_raw(one) for one in value] if isinstance(value, (list, tuple)) else value


def _value(raw: Any, annotation: Any, path: str, problems: list[Problem]) -> Any:
    """The value in its type, or _WRONG. Lists are dicts by index, so that what is wrong can be left out."""
    wanted, _ = _plain(annotation)
    if isinstance(raw, str) and raw in _words(annotation):
        return raw
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return parse(raw, wanted, problems, path)
    if origin is typing.Literal:
        if raw in arguments:
            return raw
        problems.append(Problem(path, f"{_shown(raw)} is not one of {', '.join(arguments)}"))
        return _WRONG
    if origin is tuple:
        if not isinstance(raw, list):
            if _extras(annotation, "one_will_do") and not isinstance(raw, Mapping):
                return _items({0: (path, raw)}, arguments[0], problems)
            problems.append(_wrong(path, raw, list))
            return _WRONG
        return _items({index: (f"{path}[{index}]", item) for index, item in enumerate(raw)}, arguments[0], problems)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(raw, Mapping):
            problems.append(_wrong(path, raw, dict))
            return _WRONG
        items = {key: (f"{path}.{key}", item) for key, item in raw.items() if not isinstance(item, Mapping)}
        problems.extend(_dotted(path, key, item) for key, item in raw.items() if isinstance(item, Mapping))
        return Items(_items(items, arguments[1], problems), list(raw))
    return _scalar(raw, annotation, path, problems)


def _dotted(path: str, key: str, item: Mapping[str, Any]) -> Problem:
    """The mistake of a name with a dot and without quotes, which TOML takes for a table in a table."""
    return Problem(f"{path}.{key}", f'is a table; a name with a dot needs quotes: "{".".join([key, *item][:2])}" = ...')


def _items(items: Mapping[Any, tuple[str, Any]], wanted: Any, problems: list[Problem]) -> Items:
    values = {key: _value(item, wanted, path, problems) for key, (path, item) in items.items()}
    return Items({key: value for key, value in values.items() if value is not _WRONG}, list(items))


def _scalar(raw: Any, annotation: Any, path: str, problems: list[Problem]) -> Any:
    wanted, rules = _plain(annotation)
    try:
        value: Any = msgspec.convert(raw, wanted)
    except msgspec.ValidationError:
        instead = next((text for hint in _extras(annotation, "hint") if (text := hint(raw)) is not None), None)
        wrong = _wrong(path, raw, wanted, instead)
        problems.append(wrong._replace(text=", or ".join([wrong.text, *map(repr, _words(annotation))])))
        return _WRONG
    try:
        for rule in rules:
            value = rule(value)
    except ValueError as error:
        problems.append(Problem(path, f"{_shown(raw)} {error}"))
        return _WRONG
    return value


def _plain(annotation: Any) -> tuple[Any, list[Any]]:
    """A type without `| None` and without its annotations, and the rules among these."""
    annotated = _given(annotation)
    is_annotated = typing.get_origin(annotated) is Annotated
    return typing.get_args(annotated)[0] if is_annotated else annotated, _extras(annotated, "rule")


def _extras(annotation: Any, name: str) -> list[Any]:
    """What the annotations of a type say under this name (see app/config/forms.py)."""
    annotated = _given(annotation)
    metas = typing.get_args(annotated)[1:] if typing.get_origin(annotated) is Annotated else ()
    return [meta.extra[name] for meta in metas if meta.extra and name in meta.extra]


def _given(annotation: Any) -> Any:
    """A type without `| None`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(one for one in typing.get_args(annotation) if one is not type(None))
    return annotation


def _words(annotation: Any) -> tuple[str, ...]:
    """The words that may stand instead of a number, of a type such as `float | Literal["auto"]`; else none."""
    kinds = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    return tuple(word for kind in kinds if typing.get_origin(kind) is typing.Literal for word in typing.get_args(kind))


def _built(value: Any, wanted: Any) -> Any:
    if isinstance(value, TomlTable):
        return build(value, wanted)
    if isinstance(value, Items):
        is_list, arguments = typing.get_origin(wanted) is tuple, typing.get_args(wanted)
        kind, _ = _plain(arguments[0 if is_list else 1])
        items = {key: _built(item, kind) for key, item in value.items()}
        return tuple(items.values()) if is_list else items
    return value


def _instead(annotation: Any) -> str:
    """How a value of this type is written."""
    wanted, _ = _plain(annotation)
    if (words := typing.get_args(wanted)) and typing.get_origin(wanted) is typing.Literal:
        return f"one of {', '.join(map(repr, words))}"
    if typing.get_origin(wanted) is tuple:
        tables = any(suffix for _, suffix in structs_in(wanted))
        return "at least one table, each under its title in double brackets" if tables else TYPES[list][1]
    return TYPES.get(wanted, TYPES[dict])[1]


def _wrong(path: str, raw: Any, wanted: type, instead: str | None = None) -> Problem:
    is_kind = next((words for kind, (words, _) in TYPES.items() if isinstance(raw, kind)), "a date or time")
    shown = "" if isinstance(raw, (dict, list)) else f"{_shown(raw)} "
    return Problem(path, f"{shown}is {is_kind}; write {instead or TYPES[wanted][1]}")


def _shown(raw: Any) -> str:
    """A value as somebody wrote it, cut to SHOWN_MAX characters."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, (date, time)):
        return raw.isoformat()
    if isinstance(raw, int) and abs(raw) > LARGEST_SHOWN:
        return hex(raw)[:SHOWN_MAX] + "..."
    text = repr(raw)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
