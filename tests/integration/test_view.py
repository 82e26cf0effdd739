"""`autopilot view` as users have it: the command, a real broker, a real browser that is never reloaded."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import Page

from app.clock import SystemClock
from app.contract import topics
from app.contract.schemas import (
    Actuation,
    ActuatorStatus,
    Decision,
    LinkUtilization,
    Notice,
    Released,
    RouterHeard,
    Sources,
)
from app.kafka.admin import create_topics
from app.kafka.orders import send_control
from app.lab.daemons.deployment import to_toml
from app.lab.daemons.kafka import format_storage, kafka, reached_at, start_kafka
from app.lab.daemons.machine import make_run_dir, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Runner
from app.te.traffic.units import bits
from app.web.documents import TruthPoint
from app.web.truth import TruthLine
from tests.app.web.records import (
    CAPACITY_BPS,
    FULL,
    POP,
    PREFIX,
    ROOMY,
    WINDOW_S,
    actuation,
    congestion,
    decision,
    heard,
    override,
    sources,
    status,
    window,
)
from tests.integration.browser import CHROMIUM, opened
from tests.integration.conftest import INVENTORY, unavailable
from tests.integration.loglines import log_lines
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.services]
Record = LinkUtilization | Decision | Actuation | Sources | ActuatorStatus


def now_s() -> int:
    """The end of the newest window that can be closed by now."""
    return int(SystemClock().now_s()) // WINDOW_S * WINDOW_S


async def publish(broker: str, *records: Record) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    try:
        for record in records:
            topic = {
                LinkUtilization: topics.LINK_UTILIZATION.name,
                Actuation: topics.ACTUATIONS.name,
                Sources: topics.SOURCES.name,
                ActuatorStatus: topics.ACTUATOR_STATUS.name,
                Decision: topics.DECISIONS.for_pop(POP),
            }[type(record)]
            await producer.send(topic, msgspec.json.encode(record), key=POP.encode())
        await producer.flush()
    finally:
        await producer.stop()


@asynccontextmanager
async def view(folder: Path, broker: str, *arguments: str) -> AsyncIterator[str]:
    """The command, until the block is left: its address. It ends well and at once, whoever still looks."""
    (folder / INVENTORY.name).write_text(INVENTORY.read_text())
    port = free_port()
    settings: dict[str, object] = {"pops": [INVENTORY.name], "view_port": port, "kafka": {"broker": broker}}
    (folder / "autopilot.toml").write_text(to_toml(settings))
    argv = (sys.executable, "-m", "app", "view", "--config", str(folder / "autopilot.toml"), *arguments)
    with (folder / "view.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        await until(lambda: caught_up(url))
        yield url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0, (folder / "view.log").read_text()[-4000:]
        assert log_lines(folder / "view.log")


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await happened():
            await asyncio.sleep(0.1)


async def get(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json()


async def caught_up(url: str) -> bool:
    try:
        return bool((await get(f"{url}/healthz"))["caught_up"])
    except aiohttp.ClientError:
        return False


def calm(end_s: int, count: int) -> Sequence[Record]:
    starts = range(end_s - count * WINDOW_S, end_s, WINDOW_S)
    windows = [window(start, link, carried=0.62, natural=0.62) for start in starts for link in (FULL, ROOMY)]
    return [*windows, decision(1, end_s - WINDOW_S)]


def write_truth(path: Path, end_s: int) -> None:
    lines = (
        TruthLine(POP, {FULL: TruthPoint(second, (0.6 + second % 7 / 200) * CAPACITY_BPS, 0.0, 0.62 * CAPACITY_BPS)})
        for second in range(end_s - 60, end_s)
    )
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


async def halted_and_resumed(page: Page, broker: str) -> None:
    await send_control(reached_at(broker), "*", True, "ada", reason="a line is being moved")
    await page.wait_for_selector('#notices .alarming:has-text("was halted by ada")')
    await page.wait_for_selector('#notices .alarming:has-text("(a line is being moved): no override")')
    await page.wait_for_selector("#halted")
    await send_control(reached_at(broker), "*", False, "ada")
    await page.wait_for_selector("#halted", state="hidden")


async def quiet(page: Page, card: str) -> None:
    """Nobody tells any more: after three windows the page says so."""
    await page.wait_for_selector(f'{card}[data-feed="quiet"]')
    await page.wait_for_selector('#notices .alarming:has-text("No window was published")')
    assert "no window for" in await page.inner_text(f"{card} .head")


async def test_congestion_and_overrides_come_and_go_without_a_reload(daemons: None, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM}: install chromium")
    problems: list[str] = []
    truth = tmp_path / "truth.jsonl"
    truth.touch()
    async with (
        kafka(topics.named([POP])) as broker,
        view(tmp_path, broker, "--truth", str(truth)) as url,
        opened(f"{url}/", problems) as page,
    ):
        await page.evaluate("window.neverReloaded = true")
        began_s = now_s()  # when all is up: what is published is live for three windows
        write_truth(truth, began_s)
        await publish(broker, *calm(began_s, 12))
        card = f'article[data-link="{FULL}"]'
        await page.wait_for_selector(f'{card}[data-state="calm"][data-feed="live"] .u-over')
        assert await page.is_hidden("#overrides")
        await page.wait_for_selector("li.truth")

        await publish(
            broker,
            window(began_s, carried=0.99, dropped=0.13, natural=1.12),
            window(began_s, ROOMY, carried=0.62, natural=0.62),
            decision(2, began_s, congested=(congestion(began_s),), overrides=(override(),)),
            actuation(1, began_s + 15, "announced"),
            actuation(2, began_s + 15.2, "confirmed"),
        )
        await page.wait_for_selector(f'{card}[data-state="congested"]')
        row = await page.wait_for_selector(f'tr[data-prefix="{PREFIX}"]:has-text("r1 confirmed, r2 not yet")')
        assert row is not None
        shown = await row.inner_text()
        assert "12.0 Gb/s" in shown
        assert "sheds-congested-link" in shown
        group = await page.inner_text("#overrides summary")
        assert "r1 et-0/0/1 → r1 et-0/0/2" in group
        assert "1 of 2 routes confirmed" in group
        figures = await page.wait_for_selector(f'{card} dl:has-text("112 %")')
        assert figures is not None
        assert "99.0 Gb/s" in await figures.inner_text()
        assert await page.inner_text("#sum-congested") == "1 of 6"
        label = await page.get_attribute(f"{card} .chart", "aria-label")
        assert label is not None
        assert "dropped 13.0 %" in label
        assert await page.screenshot(path=tmp_path / "congested.png", full_page=True)

        later_s = began_s + WINDOW_S
        await publish(
            broker,
            msgspec.structs.replace(window(later_s, carried=0.85, natural=0.7), feed="untrusted"),
            window(later_s, ROOMY, carried=0.6, natural=0.6),
            decision(
                3,
                later_s,
                congested=(congestion(began_s, "closed"),),
                released=(Released(PREFIX, "natural-load-fits"),),
            ),
            actuation(3, later_s + 15, "withdrawn"),
        )
        await page.wait_for_selector(f'{card}[data-state="calm"][data-feed="untrusted"]')
        await page.wait_for_selector("#overrides", state="hidden")
        for happened in ("congestion opened", "congestion closed", f"{PREFIX} (12.0 Gb/s) released: natural"):
            await page.wait_for_selector(f'#events:has-text("{happened}")')
        await halted_and_resumed(page, broker)
        await quiet(page, card)
        assert await page.evaluate("window.neverReloaded")
    assert problems == []


async def collectors_write(broker: str) -> None:
    """What sfacctd and pmbmpd write all the time, as far as the page looks: that there is something."""
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    try:
        for topic in (topics.FLOWS, topics.BMP):
            await producer.send_and_wait(topic.for_pop(POP), b"{}")
    finally:
        await producer.stop()


def part(name: str, state: str) -> str:
    return f'#parts .part-{state}[data-part="{name}"]'


async def all_parts_live(page: Page, broker: str) -> None:
    end_s = now_s()
    await collectors_write(broker)
    await publish(broker, *calm(end_s, 1), sources(end_s - WINDOW_S), status(SystemClock().now_s()))
    for name in ("PoP sfacctd", "PoP pmbmpd", "PoP telemetry", "PoP actuator", "r1 BMP", "r2 injector"):
        await page.wait_for_selector(part(name, "up"))
    await page.wait_for_selector("#notices li", state="detached")


async def test_what_is_wrong_is_on_the_page_with_its_kind_and_place(daemons: None, tmp_path: Path) -> None:
    """A capacity that differs, a forger, a router that was never heard, a dead gobgpd: then the actuator dies."""
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM}: install chromium")
    problems: list[str] = []
    async with (
        kafka(topics.named([POP])) as broker,
        view(tmp_path, broker) as url,
        opened(f"{url}/", problems) as page,
    ):
        await all_parts_live(page, broker)
        end_s = now_s()
        found = (
            Notice("capacity-differs", FULL, "Counters say 40 Gb/s, the inventory 100 Gb/s."),
            Notice("unknown-agent", "192.0.2.99", "Samples come from <b>192.0.2.99</b>, which is no router."),
        )
        await collectors_write(broker)
        heard_at_s = SystemClock().now_s()
        await publish(
            broker,
            *calm(end_s, 1),
            sources(end_s, *found, r2=RouterHeard(heard(end_s).flows, heard(end_s).counters)),
            status(heard_at_s, down=("r1",)),
        )
        for kind, text in (
            ("capacity-differs", f"{FULL}: Counters say 40 Gb/s, the inventory 100 Gb/s."),
            ("unknown-agent", "192.0.2.99: Samples come from <b>192.0.2.99</b>, which is no router."),
            ("bmp-silent", "r2: It was never heard over BMP. Does it send BMP to pmbmpd, and is its sysName 'r2'"),
            (
                "injector-silent",
                "r1: The gobgpd at unix:///run/autopilot/injector-r1.sock does not answer the actuator",
            ),
        ):
            item = await page.wait_for_selector(f'#notices .alarming[data-kind="{kind}"]')
            assert item is not None
            shown = await item.inner_text()
            assert " ".join(shown.split()).startswith(f"{kind} {text}"), shown
        await page.wait_for_selector(part("r1 injector", "down"))
        assert await page.inner_text(part("r2 BMP", "down")) == "BMP never heard"
        assert await page.screenshot(path=tmp_path / "notices.png", full_page=True)

        await page.wait_for_selector('#notices [data-kind="actuator-silent"]')
        assert SystemClock().now_s() - heard_at_s > 20
        shown = await page.inner_text('#notices [data-kind="actuator-silent"]')
        assert "The actuator has not been heard since" in shown
        await page.wait_for_selector(part("PoP actuator", "down"))
        assert await page.is_hidden('#notices [data-kind="injector-silent"]'), "nobody knows any more"
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
            metrics = await response.text()
        assert 'autopilot_notices{kind="actuator-silent",pop="rhv1000"} 1.0' in metrics
        assert 'autopilot_component_up{component="actuator",pop="rhv1000",router=""} 0.0' in metrics
        assert 'autopilot_component_up{component="BMP",pop="rhv1000",router="r2"}' in metrics
    assert problems == []


async def test_nothing_leaves_a_narrow_page_and_what_is_unknown_is_no_zero(daemons: None, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM}: install chromium")
    problems: list[str] = []
    async with kafka(topics.named([POP])) as broker, view(tmp_path, broker) as url, opened(f"{url}/", problems) as page:
        start_s = now_s() - WINDOW_S
        moving = msgspec.structs.replace(window(start_s, carried=0.99), moved_in_bps=12.3e9, moved_out_bps=3.45e9)
        silent = msgspec.structs.replace(window(start_s, ROOMY), feed="silent", carried_bps=None, natural_bps=None)
        await publish(broker, moving, silent, decision(1, start_s, overrides=(override(),)), sources(start_s))
        await page.wait_for_selector(f'article[data-link="{FULL}"][data-feed="live"]')
        await page.wait_for_selector(f'article[data-link="{ROOMY}"][data-feed="silent"]')
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.wait_for_function("document.documentElement.clientWidth <= 390")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        outside = """() => [...document.querySelectorAll("article, #sums > div, #notices li, #parts li")]
            .filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent)"""
        assert await page.evaluate(outside) == []
        assert "+12.3 Gb/s" in await page.inner_text(f'article[data-link="{FULL}"] dl')
        assert "unknown" in await page.inner_text(f'article[data-link="{ROOMY}"] dl .unknown')
        assert await page.inner_text("#sum-carried") == "99.0 Gb/s (1 of 6 links)"
        assert await page.screenshot(path=tmp_path / "narrow.png", full_page=True)
    assert problems == []


RATES = (
    0,
    0.4,
    1,
    999,
    999.4,
    999.5,
    1000,
    9994,
    9995.1,
    99_949,
    99_951,
    999_499,
    999_500,
    4.04e6,
    26e6,
    1e9,
    12e9,
    4e11,
)


WORDS = """async () => {
    const { shareOf, sumOf } = await import("/static/text.js");
    const windows = [{ feed: "gap", dropped_bps: null }, { feed: "live", dropped_bps: 3 }, null];
    const links = windows.map((window) => ({ window }));
    return [shareOf(5e6, null), shareOf(null, 1e9), shareOf(5e8, 1e9), sumOf(links, "dropped_bps").text,
        sumOf(links.slice(0, 1), "dropped_bps").text];
}"""


async def test_the_page_writes_rates_as_commands_do_and_unknown_is_no_zero(daemons: None, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        unavailable(f"no {CHROMIUM}: install chromium")
    problems: list[str] = []
    async with kafka(topics.named([POP])) as broker, view(tmp_path, broker) as url, opened(f"{url}/", problems) as page:
        shown = await page.evaluate(
            'async (rates) => { const { bits } = await import("/static/text.js"); return rates.map(bits); }',
            [None, *RATES, 2.5e12],
        )
        words = await page.evaluate(WORDS)
    assert words == ["5.00 Mb/s", "unknown", "50.0 %", "3 b/s (1 of 3 links)", "unknown"]
    assert shown == [bits(rate) for rate in (None, *RATES, 2.5e12)]


async def test_it_reads_on_when_the_broker_comes_back(daemons: None, tmp_path: Path) -> None:
    began_s = now_s()
    site = open_site(make_run_dir(None))
    async with Runner(site.run_dir, site.user) as runner:
        await format_storage(runner, site)
        broker = await start_kafka(runner, site)
        await create_topics(reached_at(broker), topics.named([POP]))
        await publish(broker, *calm(began_s, 3))
        async with view(tmp_path, broker) as url:

            async def carried() -> float:
                return float((await get(f"{url}/api/links"))[0]["window"]["carried_bps"])

            assert await carried() == 0.62 * CAPACITY_BPS
            await runner.stop("kafka")
            assert await carried() == 0.62 * CAPACITY_BPS
            await start_kafka(runner, site)
            await publish(broker, window(began_s, carried=0.8), decision(2, began_s))

            async def read_on() -> bool:
                seqs = [shown["seq"] for shown in await get(f"{url}/api/decisions")]
                return await carried() == 0.8 * CAPACITY_BPS and seqs == [2, 1]

            await until(read_on)
