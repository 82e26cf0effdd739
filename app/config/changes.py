"""What differs between two configurations, key by key, and which keys a running worker takes over. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from app.config.inventory import Pop
from app.config.settings import Deployment

Process = Literal["telemetry", "actuator"]
BOTH: frozenset[Process] = frozenset(("telemetry", "actuator"))
TEXT_MAX = 80

# Keys that only a restart changes, and in whom; what is below a table goes with it. Everything else is taken over.
RESTART: Mapping[str, frozenset[Process]] = {
    "kafka": BOTH,
    "data_dir": BOTH,
    "log_format": BOTH,
    "http": BOTH,
    "gobgp": frozenset(("actuator",)),
    "pacing.lease_s": BOTH,
    "state_port": frozenset(("telemetry",)),
    "actuator_port": frozenset(("actuator",)),
    "halt_file": frozenset(("actuator",)),
    "signing.decisions_key_file": frozenset(("telemetry",)),
}
RESTART_OF_POP = (
    "asn",
    "marker",
    "marker_asn",
    "override_local_pref",
    "router[]",
    "router.loopback4",
    "router.loopback6",
    "router.ibgp_address",
    "router.injector",
)
OF_OTHERS = ("view_port", "pops", "cells")  # no worker of a cell uses them, but the PoPs of its cell
OF_ONE_HOST = ("data_dir", "signing", "gobgp", "http", "state_port", "actuator_port", "view_port", "pops", "cells")
OF_ONE_IDENTITY = ("ca_file", "cert_file", "key_file", "username", "password_file")  # of kafka: telemetry has its own
ABSENT = "none"


class Change(msgspec.Struct, frozen=True):
    """One key whose value differs, as texts; `restart` says whether the worker has to be restarted for it.

    Keys of an inventory begin with the PoP and name a table by what identifies it: `ams1.link[r1/ae1].drain`.
    """

    key: str
    before: str
    after: str
    restart: bool

    def __str__(self) -> str:
        return f"{self.key}: {self.before} -> {self.after}"


def changes(before: Deployment, after: Deployment, cell: str, process: Process) -> list[Change]:
    """Every difference that concerns a worker of this cell, in the order of the files; ConfigError without the cell."""
    found = []
    for key, plain, old, new in _differences("", "", _settings(before), _settings(after)):
        of = next((of for name, of in RESTART.items() if _is_below(plain, name)), frozenset[Process]())
        if not of or process in of:
            found.append(Change(key, _text(old), _text(new), process in of))
    old_pops, new_pops = before.cell(cell), after.cell(cell)
    for name in old_pops | new_pops:
        if name not in old_pops or name not in new_pops:
            before_after = (ABSENT, name) if name in new_pops else (name, ABSENT)
            found.append(Change(f"cells.{cell}", *before_after, restart=True))
            continue
        for key, plain, old, new in _differences("", "", _pop(old_pops[name]), _pop(new_pops[name])):
            restart = any(_is_below(plain, fixed) for fixed in RESTART_OF_POP)
            found.append(Change(f"{name}.{key}", _text(old), _text(new), restart))
    return found


def digest(deployment: Deployment, cell: str) -> str:
    """What workers of a cell have in common if they run with the same files, on whatever host: a short hash."""
    settings = msgspec.to_builtins(deployment.settings)
    common = {key: value for key, value in settings.items() if key not in OF_ONE_HOST}
    common["kafka"] = {key: value for key, value in common["kafka"].items() if key not in OF_ONE_IDENTITY}
    packed = msgspec.json.encode([common, msgspec.to_builtins(deployment.cell(cell))], order="sorted")
    return hashlib.sha256(packed).hexdigest()[:12]


def _settings(deployment: Deployment) -> dict[str, Any]:
    settings: dict[str, Any] = msgspec.to_builtins(deployment.settings)
    return {key: value for key, value in settings.items() if key not in OF_OTHERS}


class _Named(dict[str, Any]):
    """A list of tables, each under what identifies it."""


def _pop(pop: Pop) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(pop)
    for link in plain["link"]:
        link["sessions"] = _Named((session["peer"], session) for session in link["sessions"])
    plain["router"] = _Named((router["name"], router) for router in plain["router"])
    plain["link"] = _Named((f"{link['router']}/{link['name']}", link) for link in plain["link"])
    return plain


def _differences(key: str, plain: str, old: Any, new: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """(key, key without names, old, new) of each difference; the second ends with `[]` for a whole table of a list."""
    if isinstance(old, dict) and isinstance(new, dict):
        named = isinstance(old, _Named)
        for name in old | new:
            is_whole = named and (name not in old or name not in new)
            inner = f"{key}[{name}]" if named else f"{key}.{name}".removeprefix(".")
            inner_plain = f"{plain}[]" if is_whole else plain if named else f"{plain}.{name}".removeprefix(".")
            yield from _differences(inner, inner_plain, old.get(name), new.get(name))
    elif old != new:
        yield key, plain, old, new


def _is_below(key: str, table: str) -> bool:
    return key == table or key.startswith(f"{table}.")


def _text(value: Any) -> str:
    text = ABSENT if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 3]}..."
