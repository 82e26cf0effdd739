"""The main job as a newcomer meets it: the demo runs, its page is open in a real browser and is never reloaded."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import Page

from app.lab.pop.scenario import Scenario
from tests.integration.browser import CHROMIUM, opened
from tests.integration.conftest import unavailable

SURGED = f'article[data-link="rhv1000/{Scenario().link}"]'
# The links have told of the death, there are no drops, and every route of ours is confirmed.
RELIEVED = """() => document.querySelector("#sum-dropped").textContent === "0 b/s" &&
  [...document.querySelectorAll(".carried dd")].some((one) => one.textContent.startsWith("0.0 %")) &&
  [...document.querySelectorAll("#overrides summary")].every((one) => one.textContent.includes("all confirmed"))"""
pytestmark = [pytest.mark.services, pytest.mark.usefixtures("daemons")]


class Demo:
    """The command, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._told: list[str] = []

    async def page_address(self) -> str:
        """Where it says that its page is."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._told.append(line.decode())
            if line.startswith(b"open "):
                return line.decode().split()[1]
        raise AssertionError("".join(self._told))

    async def told(self) -> str:
        """End it; everything that it printed."""
        if self._process.returncode is None:
            self._process.terminate()
        _, err = await self._process.communicate()
        return f"{''.join(self._told)}{err.decode()}"

    def users(self) -> dict[str, set[int]]:
        """By name, the user ids that each of its processes has or could take back."""
        statuses, family = dict(_statuses()), {self._process.pid}
        while more := {pid for pid, status in statuses.items() if int(status["PPid"]) in family} - family:
            family |= more
        return {statuses[pid]["Name"]: set(map(int, statuses[pid]["Uid"].split())) for pid in family}

    async def figures(self) -> dict[str, Any]:
        """Its verdict, at the end; it ends with status 0."""
        out, err = await self._process.communicate()
        assert self._process.returncode == 0, f"{out.decode()}\n{''.join(self._told)}{err.decode()}"
        document: dict[str, Any] = msgspec.json.decode(out.splitlines()[-1])
        return document


def _statuses() -> Iterator[tuple[int, dict[str, str]]]:
    """What the kernel says of each process that there is."""
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it ended meanwhile
            fields = (line.partition(":") for line in path.read_text().splitlines())
            yield int(path.parent.name), {name: value.strip() for name, _, value in fields}


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Demo]:
    argv = (sys.executable, "-m", "app", "demo", "--json", *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    demo = Demo(process)
    try:
        yield demo
    except Exception as error:
        error.add_note(await demo.told())
        raise
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def see_it_come(page: Page) -> None:
    """The surge fills the link, and prefixes move."""
    await page.wait_for_selector(f'{SURGED}[data-state="calm"] .u-over')
    await page.wait_for_selector(f'{SURGED}[data-state="congested"]')
    await page.wait_for_selector("#overrides summary")
    await page.wait_for_selector("li.truth")


async def see_it_go(page: Page) -> None:
    """What moved is released, and the page says so."""
    await page.wait_for_selector(f'{SURGED}[data-state="calm"]')
    await page.wait_for_selector("#overrides", state="hidden")
    for happened in ("congestion closed", "released: "):
        await page.wait_for_selector(f'#events:has-text("{happened}")')


async def test_congestion_comes_and_goes_on_the_page_of_the_running_demo(tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM}: install chromium")
    problems: list[str] = []
    async with running("--secure") as demo, opened(await demo.page_address(), problems) as page:
        await page.evaluate("window.neverReloaded = true")
        await see_it_come(page)
        await page.wait_for_selector('#events :text("source-path-lost")')
        await page.wait_for_function(RELIEVED)
        await page.screenshot(path=tmp_path / "congested.png")
        users = demo.users()
        await see_it_go(page)
        await page.screenshot(path=tmp_path / "calm.png")
        assert await page.evaluate("window.neverReloaded")
        assert problems == []
        figures = await demo.figures()
    assert len(users) >= 5, "it has a broker, collectors, routers and workers"
    assert not any(0 in ids for ids in users.values()), f"some run as root: {users}"
    assert figures["ok"] is True
    assert figures["dropped_bytes_loop_on"] < figures["dropped_bytes_loop_off"]
