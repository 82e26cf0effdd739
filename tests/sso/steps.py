"""What is shown of the login, one step after the other."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Browser, BrowserContext, Page, expect
from playwright.async_api import Error as BrowserError

from app.errors import DaemonError
from tests.cluster.steps import Steps
from tests.deploy.chart import LOGIN
from tests.integration.browser import chromium
from tests.patience import PATIENCE_S
from tests.sso.pod import HERE
from tests.sso.rig import ADA, BEN, EVE, GROUPS, HOST, Answer, Rig

PAGE = f"https://{HOST}/"
COOKIE = "__Host-autopilot"
POLL_S = 1.0
NEIGHBOUR = "127.0.0.2"  # where another pod would be
SECRET_HEADER = "X-Autopilot-Proxy-Secret"
PATHS = ("/", "/api/user", "/api/links", "/events", "/metrics", "/healthz", "/static/view.js")
# Leaves out what the proxy adds, as these headers are said to be for the proxy alone: nobody has a name then.
HIDDEN = [("X-Forwarded-User", EVE), ("Connection", "X-Forwarded-User, X-Autopilot-Proxy-Secret")]
# What somebody sends who wants to be taken for another.
FORGED = (
    [("X-Forwarded-User", EVE)],
    [("X-Forwarded-User", EVE), ("X-Forwarded-User", EVE)],
    [("x_forwarded_user", EVE)],
    [("X-Forwarded-User", EVE), ("X-Autopilot-Proxy-Secret", "guessed")],
    HIDDEN,
    [("X-Forwarded-Email", EVE), ("X-Forwarded-Groups", LOGIN["groups"][0]), ("X-Forwarded-Preferred-Username", EVE)],
    [("X-Forwarded-For", HERE), ("X-Real-IP", HERE), ("X-Forwarded-Uri", "/ping"), ("X-Forwarded-User", EVE)],
    [("Authorization", "Basic ZXZlOmV2ZQ=="), ("X-Forwarded-User", EVE)],
)


async def shown(taken: Steps, rig: Rig) -> None:
    """All steps; DaemonError ends them, also if the browser does not see what it should."""
    expect.set_options(timeout=PATIENCE_S * 1000)
    try:
        await _shown(taken, rig)
    except (AssertionError, TimeoutError, BrowserError) as error:
        raise DaemonError(f"{type(error).__name__}: {error}") from error


async def _shown(taken: Steps, rig: Rig) -> None:
    async with taken.step("nobody without a session gets anything, whoever they say they are"):
        await are_sent_to_the_provider(rig)
    async with AsyncExitStack() as stack:
        names = f"MAP {HOST} {HERE}:{rig.gateway_port}, MAP * ~NOTFOUND, EXCLUDE localhost"
        browser = await stack.enter_async_context(chromium(f"--host-resolver-rules={names}"))
        async with taken.step("a member gets the page, which says who they are, and follows the stream"):
            ada = await logged_in(browser, rig, ADA)
            await follows(ada)
        ben = await cookies_of((await logged_in(browser, rig, BEN)).context)
        async with taken.step("the cookie is for this host and HTTPS only, and no script reads it"):
            await is_guarded(ada)
        async with taken.step("a member cannot say that they are somebody else"):
            await is_named(rig, await cookies_of(ada.context))
        async with taken.step("the view believes nobody but the proxy, and shows other pods no page"):
            await are_not_believed(rig)
        async with taken.step("who is in no group gets 403"):
            eve = await logged_in(browser, rig, EVE)
            await is_refused(rig, eve)
        async with taken.step("who signs out has to log in again"):
            await signed_out(await logged_in(browser, rig, ADA), rig)
        async with taken.step("the view restarts, and an open page goes on"):
            await rig.stop_view()
            await expect(ada.locator("#connection")).to_have_text("connection lost, retrying")
            await rig.start_view()
            await follows(ada)
        async with taken.step("who leaves the group is out within a minute, and sees so"):
            await leaves(rig, ada)
        async with taken.step("a session that cannot be refreshed ends with its ID token"):
            await until(lambda: is_at_the_provider(rig, ben))


async def are_sent_to_the_provider(rig: Rig) -> None:
    """Each path leads to the provider, with everything that a code flow with PKCE has."""
    for headers in ([], *FORGED):
        for path in PATHS:
            answer = await rig.ask(path, headers)
            leads_to_the_provider(answer, rig, f"{path} with {headers}")


def leads_to_the_provider(answer: Answer, rig: Rig, what: str) -> None:
    """DaemonError if it does not."""
    query = parse_qs(urlsplit(answer.location).query)
    found = answer.location.split("?")[0], query.get("redirect_uri"), query.get("code_challenge_method")
    wanted = f"{rig.issuer}/auth", [f"https://{HOST}/oauth2/callback"], ["S256"]
    equal((answer.status, *found), (302, *wanted), what)


async def logged_in(browser: Browser, rig: Rig, user: str) -> Page:
    """A new window in which this user has logged in at the provider, and come back."""
    context = await browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = await context.new_page()
    await page.goto(PAGE)
    await page.fill("input[name=login]", user)
    await page.fill("input[name=password]", "any")
    await page.click("button:has-text('Sign-in')")
    await page.click("button:has-text('Continue')")
    await page.wait_for_url(f"https://{HOST}/**")
    return page


async def follows(page: Page) -> None:
    """The page names its user, and its clock goes on."""
    await expect(page.locator("#user")).to_have_text(ADA)
    await expect(page.locator("#connection")).to_have_text("connected")
    clock = await page.locator("#clock").inner_text()
    await expect(page.locator("#clock")).not_to_have_text(clock)


async def is_guarded(page: Page) -> None:
    """The flags of the only cookie of HOST."""
    found = [cookie for cookie in await page.context.cookies() if cookie["domain"] == HOST]
    flags = [(each["name"], each["path"], each["secure"], each["httpOnly"], each["sameSite"]) for each in found]
    equal(flags, [(COOKIE, "/", True, True, "Lax")], "cookies")
    equal(await page.evaluate("document.cookie"), "", "what a script reads of cookies")


async def cookies_of(context: BrowserContext) -> str:
    """The cookies of HOST as a browser sends them."""
    found = [cookie for cookie in await context.cookies() if cookie["domain"] == HOST]
    return "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in found)


async def is_named(rig: Rig, cookies: str) -> None:
    """With a session of ADA, nobody is anybody else."""
    for headers in ([], *FORGED):
        answer = await rig.ask("/api/user", headers, cookies)
        named = None if headers is HIDDEN else ADA
        equal((answer.status, json.loads(answer.text)), (200, {"user": named}), str(headers))
    changed = cookies[:-12] + ("A" if cookies[-12] != "A" else "B") + cookies[-11:]
    leads_to_the_provider(await rig.ask("/api/user", cookies=changed), rig, "a changed cookie")


async def are_not_believed(rig: Rig) -> None:
    """Without the secret nobody in the pod is believed, and with it nobody outside of the pod."""
    known = [(SECRET_HEADER, rig.proxy_secret), ("X-Forwarded-User", ADA)]
    for headers in ([], *FORGED):
        answer = await rig.ask_view("/api/user", headers)
        equal(json.loads(answer.text), {"user": None}, f"{headers} in the pod")
    equal(json.loads((await rig.ask_view("/api/user", known)).text), {"user": ADA}, "as the proxy asks")
    for headers in ([], *FORGED, known):
        statuses = {path: (await rig.ask_view(path, headers, NEIGHBOUR)).status for path in PATHS}
        open_ = {path for path, status in statuses.items() if status != 403}
        equal(open_, {"/metrics", "/healthz"}, f"what another pod gets with {headers}")


async def is_refused(rig: Rig, page: Page) -> None:
    """Whoever is in no group comes back from the provider to a 403, and has no session."""
    equal(await page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus"), 403, f"{EVE} comes back")
    cookies = await cookies_of(page.context)
    equal(f"{COOKIE}=" in cookies, False, f"a session of {EVE}")
    leads_to_the_provider(await rig.ask("/", cookies=cookies), rig, f"{EVE} asks again")


async def signed_out(page: Page, rig: Rig) -> None:
    """Signing out forgets the session; then it is for the provider to say who somebody is."""
    await page.context.clear_cookies(domain="localhost")  # signed out there, too
    await page.goto(f"{PAGE}oauth2/sign_out")
    await page.wait_for_url(f"{rig.issuer}/**")
    equal(f"{COOKIE}=" in await cookies_of(page.context), False, "a session after signing out")


async def leaves(rig: Rig, page: Page) -> None:
    """The session is refreshed by the next request a minute later; an open page asks when its stream ends."""
    cookies = await cookies_of(page.context)
    rig.set_groups({**GROUPS, ADA: []})

    async def out() -> bool:
        return (await rig.ask("/api/user", cookies=cookies)).status == 403

    await until(out)
    for headers in ([], *FORGED):
        statuses = {path: (await rig.ask(path, headers, cookies)).status for path in PATHS}
        equal(statuses, dict.fromkeys(PATHS, 403), f"{ADA}, who was in the group, with {headers}")
    async with page.expect_response(lambda answer: answer.request.is_navigation_request() and answer.status == 403):
        await rig.stop_view()
        await rig.start_view()


async def is_at_the_provider(rig: Rig, cookies: str) -> bool:
    """Whether somebody has to log in again; DaemonError if something else than that and the page comes."""
    answer = await rig.ask("/api/user", cookies=cookies)
    if answer.status != 200:
        leads_to_the_provider(answer, rig, f"after the ID token of {BEN}")
    return answer.status != 200


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it happens; TimeoutError if it does not."""
    async with asyncio.timeout(PATIENCE_S):
        while not await happens():
            await asyncio.sleep(POLL_S)


def equal(found: object, awaited: object, what: str) -> None:
    """DaemonError if the two differ."""
    if found != awaited:
        raise DaemonError(f"{what}: found {found}, and not {awaited}")
