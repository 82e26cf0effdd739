"""What is never moved, and the three budgets."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.inventory import Budgets
from app.te.decision.guards import Budget, Guards
from tests.pops import link, pop

POP = pop(
    link("r1/a", 1, urpf="strict"),
    link("r1/b", 2, urpf="loose"),
    own_prefixes=("20.0.0.0/16", "2600:1::/32"),
    pinned_prefixes=("30.0.0.0/20",),
)


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("0.0.0.0/0", "default-route"),
        ("::/0", "default-route"),
        ("20.0.0.0/16", "own-prefix"),
        ("20.0.7.0/24", "own-prefix"),
        ("20.0.0.0/12", "own-prefix"),  # it covers ours
        ("2600:1:7::/48", "own-prefix"),
        ("30.0.0.0/20", "pinned"),
        ("30.0.1.0/24", "pinned"),
        ("30.0.0.0/19", "pinned"),
        ("10.1.0.0/16", "bogon"),
        ("100.64.0.0/16", "bogon"),
        ("100.0.0.0/8", "bogon"),
        ("4000::/32", "bogon"),
        ("198.19.0.0/24", "bogon"),
        ("240.0.0.0/8", "bogon"),
        ("fd00::/32", "bogon"),
        ("2001:0:1::/48", "bogon"),
        ("40.0.0.0/7", "prefix-length"),
        ("40.0.0.0/25", "prefix-length"),
        ("2600:2::/49", "prefix-length"),
        ("2400::/18", "prefix-length"),
        ("40.0.0.0/8", None),
        ("40.0.0.0/24", None),
        ("2400:2::/48", None),
        ("203.0.113.0/24", None),
    ],
)
def test_prefixes(prefix: str, reason: str | None) -> None:
    assert Guards(POP).prefix(prefix) == reason


networks = st.builds(
    lambda value, length: IPv4Network((20 << 24 | value & (1 << 24) - (1 << 32 - length), length)),
    st.integers(0, (1 << 24) - 1),
    st.integers(10, 24),
)


@given(networks, st.lists(networks, max_size=6))
def test_what_shares_an_address_with_ours_is_ours(prefix: IPv4Network, own: list[IPv4Network]) -> None:
    guards = Guards(pop(link("r1/a", 1), own_prefixes=tuple(map(str, own))))
    assert (guards.prefix(str(prefix)) == "own-prefix") == any(map(prefix.overlaps, own))


def test_strict_urpf_bars_moves_off_the_link() -> None:
    assert Guards(POP).links(["p/r1/b", "p/r1/a"]) == "strict-urpf"
    assert Guards(POP).links(["p/r1/b"]) is None


@pytest.mark.parametrize(
    ("budgets", "allowed"),
    [
        (Budgets(max_overrides=200, max_moved_share=1.0, max_new_per_cycle=3), 3),
        (Budgets(max_overrides=12, max_moved_share=1.0, max_new_per_cycle=100), 2),
        (Budgets(max_overrides=200, max_moved_share=0.30, max_new_per_cycle=100), 4),
        (Budgets(max_overrides=10, max_moved_share=1.0, max_new_per_cycle=100), 0),
    ],
    ids=["new per cycle", "overrides", "share of the PoP's traffic", "overrides used up"],
)
def test_the_tightest_budget_binds(budgets: Budgets, allowed: int) -> None:
    budget, spent = Budget(budgets, pop_bps=1000.0, kept=10, moved_bps=100.0), 0
    while budget.allows(50.0) and spent < 50:
        budget.spend(50.0)
        spent += 1
    assert spent == allowed
    if allowed:
        budget.spend(50.0, times=-1)
        assert budget.allows(50.0)


def test_another_exit_for_what_is_moved_already_needs_no_more_room() -> None:
    budget = Budget(Budgets(max_overrides=10, max_moved_share=0.1, max_new_per_cycle=1), 1000.0, 10, 100.0)
    assert not budget.allows(50.0)
    assert budget.allows(50.0, replaces=True)
    budget.spend(50.0, replaces=True)
    assert not budget.allows(50.0, replaces=True), "but it is a change"
