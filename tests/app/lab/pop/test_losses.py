"""Contradictions between tables count once two reads a second apart show them."""

import numpy as np

from app.lab.pop.losses import LossLedger

LOST, FINE = np.array([True, False]), np.array([False, False])
BYTES = np.array([10.0, 7.0])


def book(tick_s: float, *reads: np.ndarray) -> LossLedger:
    ledger = LossLedger((2,))
    for tick, lost in enumerate(reads):
        ledger.update(tick * tick_s, lost, BYTES)
    return ledger


def test_one_read_is_transient() -> None:
    ledger = book(1, FINE, LOST, FINE, LOST)
    assert (ledger.count, ledger.confirmed_bytes, ledger.transient_bytes) == (0, 0, 20)


def test_two_reads_count_both_and_only_once() -> None:
    ledger = book(1, LOST, LOST, LOST, FINE)
    assert (ledger.count, ledger.confirmed_bytes, ledger.transient_bytes) == (1, 30, 0)


def test_short_ticks_need_a_second_as_well() -> None:
    assert book(0.25, LOST, LOST, LOST, LOST).count == 0
    ledger = book(0.25, LOST, LOST, LOST, LOST, LOST)
    assert (ledger.count, ledger.confirmed_bytes) == (1, 50)


def test_a_second_loop_is_a_second_count() -> None:
    ledger = book(1, LOST, LOST, FINE, LOST, LOST)
    assert (ledger.count, ledger.confirmed_bytes) == (2, 40)


def test_the_last_read_of_a_confirmed_one_is_known() -> None:
    assert book(1, FINE, LOST, FINE).last_s is None
    assert book(1, LOST, LOST, LOST, FINE, LOST, FINE).last_s == 2
