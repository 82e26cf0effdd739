"""A PoP of three routers with four links, and decisions for it."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from app.clock import utc
from app.config.inventory import Budgets, Link, Session
from app.contract.schemas import Decision, Exit, Mode, NaturalExit, Override, Released, SourcePath
from tests.pops import link, pop

PREFIX = "203.0.113.0/24"
PREFIX6 = "2001:db8:7::/48"


def _link(number: int, router: str) -> Link:
    """Link `et<number>`: peer 127.0.0.3<number>, next hops 198.51.100.<number> and 2001:db8:ffff::<number>."""
    hops = (f"198.51.100.{number}", f"2001:db8:ffff::{number}")
    session = Session(peer=f"127.0.0.3{number}", next_hops=hops, asn=64600 + number)
    return link(f"{router}/et{number}", number, sessions=(session,))


POP = pop(
    *(_link(1, "r1"), _link(2, "r1"), _link(3, "r2"), _link(4, "r3")),
    name="rhv1000",
    own_prefixes=("198.18.0.0/16", "2001:db8:1::/48"),
    budgets=Budgets(max_overrides=50),
)


def exit_at(number: int, family: int = 4) -> Exit:
    """The exit over link `et<number>`."""
    found = next(link for link in POP.link if link.name == f"et{number}")
    session = found.sessions[0]
    return Exit(found.router, POP.link_id(found), session.peer, session.next_hops[family == 6])


def override(prefix: str = PREFIX, exit: int = 2, **changes: object) -> Override:
    """`prefix` moved from et1 to `et<exit>`, on all routers."""
    plain = Override(
        prefix=prefix,
        exit=exit_at(exit, 6 if ":" in prefix else 4),
        inject_on=("r1", "r2", "r3"),
        natural=(NaturalExit("r1", "rhv1000/r1/et1", 1.0),),
        source_path=SourcePath((64600 + exit, 65010), "igp", None),
        bps=4e8,
        reason="rhv1000/r1/et1 is congested",
    )
    return msgspec.structs.replace(plain, **changes)


def decision(
    now_s: float,
    seq: int,
    overrides: Sequence[Override] = (),
    released: Sequence[str] = (),
    epoch: int = 7,
    mode: Mode = "auto",
    age_s: float = 0.0,
) -> Decision:
    """A decision made `age_s` ago; it may add for 30 s and is held for 300 s, both from when it was made."""
    made_at = utc(now_s - age_s)
    return Decision(
        pop="rhv1000",
        epoch=epoch,
        seq=seq,
        mode=mode,
        window_start=made_at,
        made_at=made_at,
        add_until=made_at + timedelta(seconds=30),
        hold_until=made_at + timedelta(seconds=300),
        overrides=tuple(overrides),
        released=tuple(Released(prefix, "natural-load-fits") for prefix in released),
    )
