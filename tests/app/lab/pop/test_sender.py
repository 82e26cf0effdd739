"""The UDP sender: everything arrives, paced, and only what the kernel took is counted."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from app.clock import ManualClock, SystemClock
from app.lab.pop.exporter import Datagram, Sampled
from app.lab.pop.sender import BURST_MAX, Sender
from tests.patience import PATIENCE_S

LINK = "rhv1000/r1/et-0/0/1"


@pytest.fixture
def collector() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        yield bound


def datagram(number: int, due_s: float = 0.0) -> Datagram:
    return Datagram(due_s, number.to_bytes(4), (Sampled(LINK, 1000 + number),))


def received(collector: socket.socket) -> list[int]:
    numbers = []
    while True:
        try:
            numbers.append(int.from_bytes(collector.recv(100)))
        except BlockingIOError:
            return numbers


async def test_late_datagrams_arrive_in_order_and_are_counted(collector: socket.socket) -> None:
    clock = ManualClock(now_s=1_700_000_019.0)
    sender = Sender(collector.getsockname(), clock, window_s=10)
    count = BURST_MAX + 5
    await sender.send([datagram(number) for number in range(count)], start_s=clock.monotonic_s() - 1)
    sender.close()
    assert received(collector) == list(range(count))
    account = sender.account
    assert (account.datagrams, account.datagrams_failed) == (count, 0)
    assert account.records == {LINK: count}
    assert account.sampled_bytes == {LINK: sum(1000 + number for number in range(count))}
    assert account.window_bytes == {(LINK, 1_700_000_010): account.sampled_bytes[LINK]}


async def test_a_datagram_is_not_sent_before_it_is_due(collector: socket.socket) -> None:
    clock = SystemClock()
    sender = Sender(collector.getsockname(), clock)
    start_s = clock.monotonic_s()
    await sender.send([datagram(1, due_s=0.0), datagram(2, due_s=0.05)], start_s)
    sender.close()
    assert clock.monotonic_s() - start_s >= 0.05
    assert received(collector) == [1, 2]


async def test_what_the_kernel_refuses_is_not_counted(collector: socket.socket) -> None:
    clock = SystemClock()
    sender = Sender(collector.getsockname(), clock)
    too_long = Datagram(0.0, bytes(70_000), (Sampled(LINK, 1),))
    await asyncio.wait_for(sender.send([too_long, datagram(1)], clock.monotonic_s()), PATIENCE_S)
    sender.close()
    assert (sender.account.datagrams, sender.account.datagrams_failed) == (1, 1)
    assert sender.account.sampled_bytes == {LINK: 1001}
