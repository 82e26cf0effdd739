"""What the app does for all its readers at once."""

import asyncio

from app.stream.app import forget_together
from tests.app.stream.test_exact import Stream, reader


async def test_no_memory_is_cleared_while_another_reader_works() -> None:
    """Flows that were read in that moment met no routes, and a rebalance made them unroutable for ever."""
    routes, flows = list[str](), list[str]()
    answers = list[asyncio.Future[None]]()
    readers = [reader(routes), reader(flows, answer=answers.append)]
    working = asyncio.create_task(readers[1].run(Stream(flows, [[0]])))
    while not answers:
        await asyncio.sleep(0)
    revoking = asyncio.create_task(forget_together(readers))
    for _ in range(10):
        await asyncio.sleep(0)
    assert routes == []
    while not working.done():
        for answer in answers:
            if not answer.done():
                answer.set_result(None)
        await asyncio.sleep(0)
    await revoking
    assert (routes, flows[-2:]) == (["reset"], ["ack 0", "reset"])
