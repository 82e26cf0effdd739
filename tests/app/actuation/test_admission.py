"""Every reason to refuse, one by one: the plain override passes, and one change is enough to stop it."""

import msgspec
import pytest

from app.actuation.admission import next_hop_refusal, refusal
from app.config.inventory import Pop
from app.contract.schemas import SourcePath
from app.te.decision.guards import Guards
from tests.app.actuation.pop import POP, PREFIX6, exit_at, override


def changed(**changes: object) -> Pop:
    return msgspec.structs.replace(POP, **changes)


@pytest.mark.parametrize("exit", [1, 2, 3, 4])
def test_a_plain_override_passes(exit: int) -> None:
    assert refusal(POP, override(exit=exit)) is None
    assert refusal(POP, override(PREFIX6, exit=exit)) is None


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("0.0.0.0/0", "default-route"),
        ("::/0", "default-route"),
        ("198.18.0.0/16", "own-prefix"),
        ("198.18.7.0/24", "own-prefix"),
        ("198.16.0.0/13", "own-prefix"),  # it covers ours
        ("2001:db8:1::/48", "own-prefix"),
        ("10.20.0.0/16", "bogon"),
        ("100.64.0.0/12", "bogon"),
        ("172.20.0.0/16", "bogon"),
        ("192.168.0.0/16", "bogon"),
        ("127.0.0.0/8", "bogon"),
        ("169.254.0.0/16", "bogon"),
        ("224.0.0.0/8", "bogon"),
        ("240.0.0.0/8", "bogon"),
        ("fc00::/20", "bogon"),
        ("fe80::/32", "bogon"),
        ("1.0.0.0/7", "prefix-invalid"),  # host bits
        ("2.0.0.0/7", "prefix-length"),
        ("203.0.113.0/25", "prefix-length"),
        ("2a00::/18", "prefix-length"),
        ("2001:db8:7::/49", "prefix-length"),
        ("2001:DB8:7::/48", "prefix-not-canonical"),
        ("203.0.113.0", "prefix-not-canonical"),
        ("2001:db8:7::%eth0/48", "prefix-invalid"),
        ("not a prefix", "prefix-invalid"),
    ],
)
def test_prefixes_that_are_never_announced(prefix: str, reason: str) -> None:
    assert refusal(POP, override(prefix)) == reason


@pytest.mark.parametrize(
    "prefix",
    [
        *("0.0.0.0/0", "::/0", "198.18.0.0/16", "198.18.7.0/24", "198.16.0.0/13", "2001:db8:1::/48", "2001:db8::/32"),
        *("203.0.112.0/22", "203.0.113.0/24", "203.0.0.0/16", "2001:db8:7::/48"),
        *("10.20.0.0/16", "100.0.0.0/8", "192.0.0.0/16", "224.0.0.0/8"),
        *("fc00::/20", "4000::/32", "64:ff9b:1::/48", "2001:0:7::/48", "2002:a00::/32", "::/20"),
        *("40.0.0.0/8", "40.0.0.0/7", "40.0.0.0/25", "2400::/32", "2400::/18", "2400::/49"),
    ],
)
def test_the_decision_and_the_last_look_agree(prefix: str) -> None:
    """What one allows and the other refuses would be decided anew and refused for ever."""
    pop = changed(pinned_prefixes=("203.0.112.0/22",))
    assert refusal(pop, override(prefix)) == Guards(pop).prefix(prefix)


def test_routers_that_export_have_one_reason_on_both_sides() -> None:
    fabric = changed(router=tuple(msgspec.structs.replace(each, exports_learned_routes=True) for each in POP.router))
    assert refusal(fabric, override()) == Guards(fabric).routers(override().inject_on) == "exports-learned-routes"


def test_pinned_prefixes_stay_where_they_are() -> None:
    assert refusal(changed(pinned_prefixes=("203.0.112.0/22",)), override()) == "pinned"


@pytest.mark.parametrize(
    "next_hop",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "ff02::1",
    ],
)
def test_next_hops_that_reset_sessions_or_withdraw(next_hop: str) -> None:
    assert next_hop_refusal(next_hop) == "next-hop-martian"


def test_other_next_hops_pass() -> None:
    assert next_hop_refusal("198.51.100.9") is None
    assert next_hop_refusal("2001:db8:ffff::9") is None
    assert next_hop_refusal("r1") == "next-hop-invalid"


def test_a_martian_next_hop_of_a_session_is_refused_too() -> None:
    link = POP.link[1]
    session = msgspec.structs.replace(link.sessions[0], next_hops=("127.0.0.32",))
    pop = changed(link=(msgspec.structs.replace(link, sessions=(session,)),))
    where = msgspec.structs.replace(exit_at(2), next_hop="127.0.0.32")
    assert refusal(pop, msgspec.structs.replace(override(), exit=where)) == "next-hop-martian"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"link": "rhv1000/r9/et9"}, "unknown-link"),
        ({"router": "r3"}, "unknown-link"),
        ({"peer": "127.0.0.33"}, "unknown-session"),
        ({"peer": "127.0.0.31"}, "unknown-session"),  # a session of the router, on another link
        ({"next_hop": "198.51.100.77"}, "next-hop-not-of-session"),
    ],
)
def test_an_exit_is_a_live_session_of_its_router(change: dict[str, str], reason: str) -> None:
    where = msgspec.structs.replace(exit_at(2), **change)
    assert refusal(POP, msgspec.structs.replace(override(), exit=where)) == reason


def test_an_ipv4_prefix_gets_no_ipv6_next_hop_nor_the_other_way_round() -> None:
    """RFC 8950 needs a capability that the injector's session may lack."""
    assert refusal(POP, msgspec.structs.replace(override(), exit=exit_at(2, 6))) == "next-hop-family"
    assert refusal(POP, msgspec.structs.replace(override(PREFIX6), exit=exit_at(2, 4))) == "next-hop-family"


def test_a_drained_link_receives_nothing() -> None:
    drained = tuple(msgspec.structs.replace(link, drain=link.name == "et2") for link in POP.link)
    assert refusal(changed(link=drained), override(exit=2)) == "link-drained"


def test_routers() -> None:
    assert refusal(POP, override(inject_on=("r2", "r3"))) == "exit-not-injected"
    assert refusal(POP, override(inject_on=("r1", "r9"))) == "unknown-router"
    fabric = tuple(msgspec.structs.replace(r, exports_learned_routes=r.name == "r3") for r in POP.router)
    assert refusal(changed(router=fabric), override()) == "exports-learned-routes"
    assert refusal(changed(router=fabric), override(inject_on=("r1", "r2"))) is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (SourcePath((), "igp"), "empty-as-path"),
        (SourcePath((64602, 64512, 65010), "igp"), "own-as-in-path"),
        (SourcePath((64602, 2**32), "igp"), "as-path-invalid"),
        (SourcePath((64602, 0), "igp"), "as-path-invalid"),
        (SourcePath((64602,) * 65, "igp"), "as-path-too-long"),
        (SourcePath((64602,) * 1100, "igp"), "as-path-too-long"),
        (SourcePath((64602,), "igp", -1), "med-invalid"),
    ],
)
def test_what_is_copied_is_a_real_path(source: SourcePath, reason: str) -> None:
    assert refusal(POP, override(source_path=source)) == reason


def test_nothing_is_moved_off_a_link_with_strict_urpf() -> None:
    strict = tuple(msgspec.structs.replace(link, urpf="strict" if link.name == "et1" else "none") for link in POP.link)
    assert refusal(changed(link=strict), override(exit=2)) == "strict-urpf"


def test_other_routers_are_sent_to_a_loopback_of_the_exit_only_if_it_has_one() -> None:
    routers = [msgspec.structs.replace(router, loopback6=None) for router in POP.router]
    pop = changed(router=tuple(routers))
    assert refusal(pop, override(exit=1)) is None
    assert refusal(pop, override(PREFIX6, exit=1)) == "exit-without-loopback"
    alone = override(PREFIX6, exit=1)
    assert refusal(pop, msgspec.structs.replace(alone, inject_on=(alone.exit.router,))) is None
