"""Inventories for tests: the demo's PoP, and small ones in few words."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from app.config.inventory import Budgets, Injector, Kind, Link, Pop, Router, Session
from app.config.toml import convert
from app.lab.daemons.deployment import with_sockets_in

ASN = 64512
G = 1e9
INVENTORY = Path(__file__).parents[1] / "deploy" / "local" / "rhv1000.toml"


def demo_pop() -> Pop:
    """The demo's PoP with sockets in a directory that nobody uses."""
    text = with_sockets_in(Path("/nonexistent"), INVENTORY.read_text(encoding="utf-8"))
    problems: list[str] = []
    pop = convert(tomllib.loads(text), Pop, "rhv1000.toml", problems)
    assert pop is not None, problems
    return pop


def router(number: int, names: Iterable[str] = (), **changes: Any) -> Router:
    """Router r<number>, IGP cost 10 to every other of `names`, connected to all of them."""
    others = [name for name in names if name != f"r{number}"]
    made = Router(
        name=f"r{number}",
        agent_address=f"192.0.2.{number}",
        loopback4=f"192.0.2.{10 + number}",
        loopback6=f"2001:db8:ffff::{10 + number}",
        bmp_sysname=f"r{number}",
        injector=Injector(address=f"127.0.0.2{number}", grpc=f"unix:///injector-{number}"),
        ibgp_address=f"127.0.0.1{number}",
        internal_ifindexes=(1,),
        core={name: (index,) for index, name in enumerate(others, start=2)},
        igp_cost=dict.fromkeys(others, 10),
    )
    return msgspec.structs.replace(made, **changes)


def link(
    name: str, number: int, capacity_g: float = 100, cost: float = 0.0, kind: Kind = "pni", **changes: Any
) -> Link:
    """`name` is "r1/a". Its only peer and next hop is 10.0.0.<number>, its AS 64600 + number."""
    of_router, of_link = name.split("/")
    session = Session(peer=f"10.0.0.{number}", next_hops=(f"10.0.0.{number}",), asn=64600 + number)
    made = Link(of_link, of_router, kind, (100 + number,), (session,), cost, capacity_g * G)
    return msgspec.structs.replace(made, **changes)


def capacity_bps(link: Link) -> float:
    """The capacity that the inventory gives this link."""
    assert link.configured_bps is not None
    return link.configured_bps


def pop(*links: Link, budgets: Budgets | None = None, **changes: Any) -> Pop:
    """A PoP "p" of these links and the routers that they name."""
    names = sorted({one.router for one in links})
    routers = tuple(router(int(name[1:]), names) for name in names)
    made = Pop("p", ASN, ("198.18.0.0/16",), routers, links, budgets=budgets or Budgets(max_moved_share=1.0))
    return msgspec.structs.replace(made, **changes)
