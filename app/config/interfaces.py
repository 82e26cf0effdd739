"""Interfaces by name: a router's table of names and ifIndexes, and the numbers put where an inventory uses a name."""

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from app.config import forms
from app.config.toml import Problem

PLACEHOLDER = 1 << 29  # above all ifIndexes that routers give, below the bits that sFlow uses for itself
Lookup = Callable[[Any, str], Any]  # (name or number, key it stands in) -> number


def numbered(raw: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """An inventory as read from TOML, with the ifIndex in place of each name that its router's `interfaces` has.

    A name that no table has is appended to `problems`; a number of no port in its place causes no second complaint.
    Whatever has another form than an inventory stays as it is: the conversion that follows says what is wrong with it.
    """
    routers, links = _tables(raw.get("router")), _tables(raw.get("link"))
    placeholders = count(PLACEHOLDER)
    named = {str(router.get("name")): router.get("interfaces") for router in routers}

    def lookup_of(router: str, at: str) -> Lookup:
        names = named.get(router)

        def lookup(value: Any, key: str) -> Any:
            if not isinstance(value, str):
                return value
            if isinstance(names, Mapping) and value in names:
                return names[value] if _is_ifindex(names[value]) else next(placeholders)
            if value.isdecimal():
                problems.append(Problem(f"{at}.{key}", f"{value[:10]!r} is text; write the number without quotes"))
                return next(placeholders)
            known = ", ".join(names) if isinstance(names, Mapping) and names else "none"
            text = f"interfaces of router {router} have no {value!r}; known: {known}"
            problems.append(Problem(f"{at}.{key}", text))
            return next(placeholders)

        return lookup

    changed = dict(raw)
    if routers:
        changed["router"] = [
            _with(router, ("internal_ifindexes",), lookup_of(str(router.get("name")), f"router[{index}]"))
            for index, router in enumerate(routers)
        ]
    if links:
        changed["link"] = [
            _with(link, ("ifindexes", "members"), lookup_of(str(link.get("router")), f"link[{index}]"))
            for index, link in enumerate(links)
        ]
    return changed


def _is_ifindex(number: Any) -> bool:
    """Whether the number of an interface is right; if not, its own table says so, and no place that names it."""
    try:
        return type(number) is int and forms.ifindex(number) == number
    except ValueError:
        return False


def _tables(raw: Any) -> list[dict[str, Any]]:
    """The tables of a list of tables; none if it is anything else."""
    return raw if isinstance(raw, list) and all(isinstance(table, dict) for table in raw) else []


def _with(table: Mapping[str, Any], keys: Iterable[str], lookup: Lookup) -> dict[str, Any]:
    """The table with numbers in the lists of these keys and, if it has one, in its table `core`."""
    changed = dict(table)
    for key in keys:
        if isinstance(values := table.get(key), list):
            changed[key] = _numbers(values, key, lookup)
    if isinstance(core := table.get("core"), dict):
        changed["core"] = {name: _numbers(value, f"core.{name}", lookup) for name, value in core.items()}
    return changed


def _numbers(value: Any, key: str, lookup: Lookup) -> Any:
    """The number of one interface, or those of a list."""
    if not isinstance(value, list):
        return lookup(value, key)
    return [lookup(each, f"{key}[{index}]") for index, each in enumerate(value)]
