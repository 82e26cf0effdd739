"""Orders over the `control` topic."""

import asyncio

import msgspec
import pytest

from app.clock import ManualClock, utc
from app.control import ControlReader, Orders, send_control
from app.errors import DaemonError
from app.local.ports import free_port
from app.schemas import Control


def order(pop: str, halt: bool) -> tuple[bytes, bytes]:
    record = Control(pop=pop, halt=halt, by="a test", at=utc(ManualClock().now_s()))
    return pop.encode(), msgspec.json.encode(record)


def after(*orders: tuple[bytes, bytes | None]) -> Orders:
    made = Orders()
    for key, value in orders:
        made.take(key, value)
    return made


def test_without_orders_nothing_is_halted() -> None:
    assert not after().halted("rhv1000")


def test_the_last_order_of_a_pop_counts() -> None:
    assert after(order("rhv1000", False), order("rhv1000", True)).halted("rhv1000")
    assert not after(order("rhv1000", True), order("rhv1000", False)).halted("rhv1000")
    assert not after(order("fra1000", True)).halted("rhv1000")


def test_an_order_for_all_halts_every_pop_and_does_not_lift_one_of_its_own() -> None:
    assert after(order("*", True)).halted("rhv1000")
    assert after(order("rhv1000", True), order("*", True), order("*", False)).halted("rhv1000")
    assert not after(order("*", True), order("*", False)).halted("rhv1000")


def test_a_tombstone_takes_an_order_away() -> None:
    assert not after(order("rhv1000", True), (b"rhv1000", None)).halted("rhv1000")


def test_what_cannot_be_read_changes_nothing() -> None:
    assert after(order("rhv1000", True), (b"rhv1000", b"junk")).halted("rhv1000")


async def test_an_order_that_no_broker_takes_says_what_else_to_do() -> None:
    with pytest.raises(DaemonError, match="create the halt file"):
        await send_control(f"127.0.0.1:{free_port()}", "*", True, "a test")


async def test_a_reader_without_a_broker_waits_and_does_not_end() -> None:
    reader = ControlReader(f"127.0.0.1:{free_port()}", lambda orders: None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await reader.run()
    assert not reader.caught_up
