"""One writer per gobgpd: who may write, seen from each side."""

import pytest

from app.actuation.ownership import CLAIM_S, RENEW_S, SETTLE_S, Claim
from app.clock import ManualClock


class Writers:
    """Writers that share one gobgpd; `note` is what stands there."""

    def __init__(self, *names: str) -> None:
        self.clock = ManualClock()
        self.note: bytes | None = None
        self.claims = {name: Claim(self.clock, name) for name in names}

    def look(self, name: str, ready: bool = True) -> bool:
        """One writer looks and writes; whether it owns the gobgpd."""
        written = self.claims[name].look(self.note, ready)
        self.note = self.note if written is None else written
        return self.claims[name].is_mine

    def wait(self, seconds: float, *names: str) -> None:
        """Time passes, while these writers look every second."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            for name in names:
                self.look(name)


def test_a_free_one_is_owned_after_a_moment() -> None:
    writers = Writers("a")
    assert not writers.look("a")
    writers.wait(SETTLE_S + 1, "a")
    assert writers.claims["a"].is_mine


def test_of_two_that_see_no_claim_one_gets_it() -> None:
    writers = Writers("a", "b")
    first, second = (writers.claims[name].look(None, True) for name in ("a", "b"))
    assert first
    writers.note = second
    writers.wait(SETTLE_S + 1, "a", "b")
    assert [writers.claims[name].is_mine for name in ("a", "b")] == [False, True]
    assert writers.claims["a"].holder == "b"


def test_a_living_owner_keeps_it_and_a_dead_one_does_not() -> None:
    writers = Writers("a", "b")
    writers.wait(SETTLE_S + 1, "a")
    writers.wait(60, "a", "b")
    assert [claim.is_mine for claim in writers.claims.values()] == [True, False]
    writers.wait(CLAIM_S - RENEW_S, "b")
    assert not writers.claims["b"].is_mine
    writers.wait(RENEW_S + SETTLE_S + 2, "b")
    assert writers.claims["b"].is_mine


def test_the_one_that_was_frozen_reads_that_it_lost_it() -> None:
    writers = Writers("a", "b")
    writers.wait(SETTLE_S + 1, "a")
    writers.wait(CLAIM_S + SETTLE_S + 3, "b")
    assert not writers.look("a")
    assert writers.claims["a"].holder == "b"


def test_one_that_can_judge_routes_takes_over_from_one_that_cannot() -> None:
    writers = Writers("a", "b")
    for _ in range(5):
        writers.clock.advance(1)
        writers.look("a", ready=False)
    assert writers.claims["a"].is_mine
    writers.look("b", ready=False)
    assert writers.claims["b"].holder == "a"
    writers.look("b", ready=True)
    assert not writers.look("a", ready=False)


def test_a_restart_of_the_gobgpd_means_claiming_anew() -> None:
    writers = Writers("a")
    writers.wait(SETTLE_S + 1, "a")
    writers.note = None
    assert not writers.look("a")
    writers.wait(SETTLE_S + 1, "a")
    assert writers.claims["a"].is_mine


@pytest.mark.parametrize("note", [b"", b"\xff", b"[" * 2000, b'{"owner": 1}', b"null"])
def test_what_cannot_be_read_is_somebodys_until_it_lapses(note: bytes) -> None:
    writers = Writers("a")
    writers.note = note
    writers.wait(CLAIM_S - 1, "a")
    assert writers.note == note
    writers.wait(SETTLE_S + 3, "a")
    assert writers.claims["a"].is_mine
