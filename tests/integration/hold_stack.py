"""A process that holds a stack until it is ended: `python -m tests.integration.hold_stack`."""

import asyncio

from app.lab.daemons.stack import Stack
from tests.integration.conftest import INVENTORY


async def hold() -> None:
    async with Stack(INVENTORY, {}) as stack:
        print(stack.run_dir, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold())
