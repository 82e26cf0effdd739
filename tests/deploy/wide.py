"""Inventories of large PoPs: many routers and links, each with addresses of its own, so that nothing repeats."""

import json
import random
from collections.abc import Iterator
from typing import Any

LINKS = 4  # a router
KINDS = ("pni", "pni", "ixp", "transit")


def inventory(pop: str, routers: int) -> str:
    """The inventory of a PoP of this many routers, each of which reaches all others; the same for the same name."""
    chance = random.Random(pop)
    names = [f"edge{number}" for number in range(1, routers + 1)]
    head = {"name": pop, "asn": 64512, "own_prefixes": ["198.18.0.0/16", "2001:db8:1000::/40"]}
    tables = [_toml(head)]
    tables += [f"[[router]]\n{_toml(_router(pop, name, names, chance))}" for name in names]
    tables += [f"[[link]]\n{_toml(each)}" for name in names for each in _links(name, chance)]
    return "\n".join(tables)


def _router(pop: str, name: str, names: list[str], chance: random.Random) -> dict[str, Any]:
    others = [other for other in names if other != name]
    return {
        "name": name,
        "agent_address": _address(chance),
        "loopback4": _address(chance),
        "loopback6": f"2001:db8:ffff:{chance.randrange(1 << 16):x}::{chance.randrange(1, 1 << 16):x}",
        "bmp_sysname": f"{name}.{pop}",
        "ibgp_address": _address(chance),
        "injector": {"address": _address(chance), "grpc": f"unix:///run/autopilot/{pop}-{name}.sock"},
        "internal_ifindexes": [1],
        "core": {other: index for index, other in enumerate(others, start=2)},
        "igp_cost": {other: chance.randrange(10, 200) for other in others},
    }


def _links(router: str, chance: random.Random) -> Iterator[dict[str, Any]]:
    for number, kind in enumerate(KINDS[:LINKS]):
        yield {
            "name": f"et-0/0/{number}",
            "router": router,
            "kind": kind,
            "local_pref": {"pni": 300, "ixp": 200, "transit": 100}[kind],
            "ifindexes": [501 + number],
            "capacity_bps": 100e9,
            "cost": round(chance.random(), 2),
            "sessions": [
                {
                    "peer": _address(chance),
                    "asn": chance.randrange(1, 64496),
                    "next_hops": [_address(chance), f"2001:db8:{chance.randrange(1 << 16):x}::1"],
                }
            ],
        }


def _address(chance: random.Random) -> str:
    return f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def _toml(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
