"""Rules between the keys of settings. What could not be read is passed over."""

import os.path
from collections.abc import Collection, Iterator

from app.config import forms, gobgp_settings, http_settings, trusted_keys
from app.config.inventory_rules import twice
from app.config.toml import Problem, TomlTable

PORTS = ("state_port", "actuator_port", "view_port")  # each process opens its own
SECURITY_KEYS = {  # by kafka.security: the keys that it needs, and those that it can use besides
    "plaintext": ((), ()),
    "tls": ((), ("ca_file",)),
    "mtls": (("cert_file", "key_file"), ("ca_file",)),
    "sasl-scram": (("username", "password_file"), ("ca_file", "cert_file", "key_file")),
}
DECIDED_S = 10  # a decision comes about 5 s after its window ends; twice that, for a broker that is slow


def rules(settings: TomlTable, pops: Collection[str | None]) -> Iterator[Problem]:
    """Every contradiction between the keys of settings; `pops` are the names of the PoPs that could be read."""
    if settings.is_empty("pops"):
        yield Problem("pops", "is empty; write the names of the inventory files, one for each PoP")
    yield from twice((name, path) for path, name in settings.each("pops"))
    yield from _order(settings.table("thresholds"), settings.table("windows"), settings.table("pacing"))
    yield from twice((port, key) for key in PORTS if (port := settings.get(key)))
    yield from _timers(settings.table("windows"), settings.table("pacing"))
    yield from _security(settings.table("kafka"))
    yield from gobgp_settings.rules(settings.table("gobgp"))
    yield from http_settings.rules(settings.table("http"))
    yield from _cells(settings, pops)
    yield from trusted_keys.rules(settings.table("trust"), settings.get("mode"), pops)
    data_dir, halt_file = settings.get("data_dir"), settings.get("halt_file")
    if data_dir and halt_file and os.path.normpath(data_dir) == os.path.normpath(halt_file):
        yield Problem("halt_file", f"{halt_file!r} is also data_dir; it must be a file that is not there as a rule")


def _security(kafka: TomlTable) -> Iterator[Problem]:
    """Every key that the way to the broker needs and lacks; and those that it leaves unused, so that it seems safer."""
    if (security := kafka.get("security")) is None:
        return
    needed, usable = SECURITY_KEYS[security]
    given = {key for keys in SECURITY_KEYS["sasl-scram"] for key in keys if kafka.written(key) is not None}
    pair = {"cert_file", "key_file"}
    if given & pair and security == "sasl-scram":
        needed = (*needed, *sorted(pair))
    for key in needed:
        if key not in given:
            yield Problem(kafka.at(key), f'is missing; security = "{security}" needs {" and ".join(needed)}')
    for key in sorted(given - {*needed, *usable}):
        users = " or ".join(f'"{name}"' for name, keys in SECURITY_KEYS.items() if key in (*keys[0], *keys[1]))
        yield Problem(kafka.at(key), f'is not used with security = "{security}"; leave it out, or write {users} there')


def _order(thresholds: TomlTable, windows: TomlTable, pacing: TomlTable) -> Iterator[Problem]:
    """Pairs of numbers of which the first must not be larger, or must be smaller, than the second."""
    enter, length, decay = (thresholds, "enter"), (windows, "length_s"), (pacing, "share_decay_s")
    yield from _below((thresholds, "leave"), enter, "or congestion closes and opens in turn")
    yield from _below((thresholds, "fill_to"), enter, "or a target congests at once")
    yield from _up_to(enter, (thresholds, "saturated"), "or a link is saturated before it is congested")
    yield from _up_to((thresholds, "shed_to"), enter, "or the link stays congested")
    yield from _up_to((thresholds, "shed_to_saturated"), (thresholds, "shed_to"), "because less of it is seen")
    yield from _up_to(length, (windows, "retention_s"), "because three windows are looked at", factor=3)
    yield from _up_to(decay, (windows, "retention_s"), "the history of shares", factor=2)


def _timers(windows: TomlTable, pacing: TomlTable) -> Iterator[Problem]:
    """Timers that must outlast others, or else every override would end before it is renewed, or none be added."""
    length_s, grace_s, refresh_s = (windows.get(key) for key in ("length_s", "grace_s", "refresh_s"))
    if windows.has("length_s", "grace_s"):
        text = f"three windows, the grace of the last and {DECIDED_S} s, or overrides end before they are renewed"
        yield from _at_least((pacing, "lease_s"), 3 * length_s + grace_s + DECIDED_S, text)
    if windows.has("grace_s", "refresh_s"):
        text = "windows.grace_s + 3 * windows.refresh_s, or a decision comes too late to move anything"
        yield from _at_least((pacing, "add_within_s"), grace_s + 3 * refresh_s, text)
    yield from _below((windows, "grace_s"), (windows, "retention_s"), "or rows go while their windows are open")


Number = tuple[TomlTable, str]


def _at_least(number: Number, least: float, why: str) -> Iterator[Problem]:
    table, key = number
    if table.has(key) and table.get(key) < least:
        yield Problem(table.at(key), f"{table.get(key):g} must be at least {least:g}: {why}")


def _below(low: Number, high: Number, why: str) -> Iterator[Problem]:
    (table, key), (other, bound) = low, high
    if table.has(key) and other.has(bound) and not table.get(key) < other.get(bound):
        yield Problem(
            table.at(key), f"{table.get(key):g} must be below {other.at(bound)} ({other.get(bound):g}), {why}"
        )


def _up_to(low: Number, high: Number, why: str, factor: int = 1) -> Iterator[Problem]:
    """The mistake that `low` times `factor` is above `high`; it is told of `high` if there is a factor."""
    (table, key), (other, bound) = low, high
    if not table.has(key) or not other.has(bound) or factor * table.get(key) <= other.get(bound):
        return
    if factor == 1:
        yield Problem(
            table.at(key), f"{table.get(key):g} must not be above {other.at(bound)} ({other.get(bound):g}), {why}"
        )
    else:
        least = f"{factor} * {table.at(key)} ({factor * table.get(key):g})"
        yield Problem(other.at(bound), f"{other.get(bound):g} must be at least {least}, {why}")


def _cells(settings: TomlTable, pops: Collection[str | None]) -> Iterator[Problem]:
    """Each PoP is in one cell at most, and a cell may have a PoP's name only if that PoP is in it."""
    cell_of: dict[str, str] = {}
    for path, names in settings.each("cells"):
        cell = path.removeprefix("cells.")
        if not names.given:
            yield Problem(path, "is empty; write the PoPs of this cell, or leave it out")
        try:
            forms.topic_name(cell)
        except ValueError as error:
            yield Problem(path, f"{cell!r} {error}")
        if names.given and cell in pops and cell not in names.values():
            yield Problem(path, f"is the name of PoP {cell}, which is not in this cell; give the cell another name")
        for index, name in names.items():
            if name not in pops:
                known = ", ".join(sorted(filter(None, pops))) or "none"
                yield Problem(f"{path}[{index}]", f"no PoP {name}; known: {known}")
            if (first := cell_of.setdefault(name, f"{path}[{index}]")) != f"{path}[{index}]":
                yield Problem(f"{path}[{index}]", f"{name!r} is also {first}; a PoP is in one cell")


def cells_of(settings: TomlTable) -> dict[str, str]:
    """The cell of each PoP that is listed in one; the first, if it is listed twice."""
    cells: dict[str, str] = {}
    for path, names in settings.each("cells"):
        for name in names.values():
            cells.setdefault(name, path)
    return cells
