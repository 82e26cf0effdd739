"""Debian's chromium, driven by playwright: nothing leaves the machine, and nothing goes wrong unseen."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from tests.patience import PATIENCE_S

CHROMIUM = Path("/usr/bin/chromium")
LAPTOP = {"width": 1366, "height": 900}
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
)


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """The browser itself, with these flags more."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *sandbox, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(url: str, problems: list[str]) -> AsyncIterator[Page]:
    """The page in a window of a laptop's size. Errors, warnings of the console and failed requests go to `problems`."""
    async with chromium() as browser:
        page = await browser.new_page(viewport={"width": LAPTOP["width"], "height": LAPTOP["height"]})
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("response", lambda answer: problems.append(f"{answer.status} {answer.url}") if not answer.ok else None)
        page.on(
            "request",
            lambda request: problems.append(request.url) if not request.url.startswith(url) else None,
        )
        await page.goto(url)
        yield page
