"""Whom the page believes about who somebody is: a proxy at its address that knows the secret, and nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from app.clock import ManualClock
from app.config.http_settings import Http
from app.web.hub import Hub
from app.web.pages import make_site
from app.web.pop_model import PopModel
from app.web.users import SECRET_HEADER
from tests.app.web.records import POP
from tests.pops import demo_pop

SECRET = "correct horse"
GOOD = [(SECRET_HEADER, SECRET), ("X-Forwarded-User", "ada")]


@pytest.fixture
def http(tmp_path: Path) -> Http:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return Http(proxies=("127.0.0.1",), proxy_secret_file=str(tmp_path / "secret"))


@asynccontextmanager
async def page(http: Http) -> AsyncIterator[TestClient[Any, Any]]:
    models = {POP: PopModel(demo_pop(), 10, 0.9, [POP])}
    async with TestClient(TestServer(make_site(models, Hub(), ManualClock(0), dict, http))) as client:
        yield client


async def who(http: Http, headers: list[tuple[str, str]]) -> object:
    async with page(http) as client:
        return (await (await client.get("/api/user", headers=headers)).json())["user"]


async def test_a_proxy_says_who_somebody_is(http: Http) -> None:
    assert await who(http, GOOD) == "ada"
    assert await who(msgspec.structs.replace(http, user_header="X-User"), [GOOD[0], ("x-user", "bob")]) == "bob"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        GOOD[1:],
        GOOD[:1],
        [(SECRET_HEADER, "wrong"), GOOD[1]],
        [(SECRET_HEADER, ""), GOOD[1]],
        [(SECRET_HEADER, "caf\xe9"), GOOD[1]],
        [*GOOD, ("X-Forwarded-User", "mallory")],
        [*GOOD, (SECRET_HEADER, "wrong")],
        [GOOD[0], ("X-Forwarded-User", "")],
        [GOOD[0], ("X-Forwarded-User", "x" * 300)],
    ],
    ids=[
        "none",
        "no secret",
        "no name",
        "wrong",
        "empty",
        "odd",
        "two names",
        "two secrets",
        "empty name",
        "long name",
    ],
)
async def test_others_say_nothing(http: Http, headers: list[tuple[str, str]]) -> None:
    assert await who(http, headers) is None


async def test_the_secret_alone_is_not_enough(http: Http) -> None:
    assert await who(msgspec.structs.replace(http, proxies=()), GOOD) is None


async def test_a_secret_that_changes_counts_at_once_and_an_empty_one_is_none(http: Http) -> None:
    path = Path(http.proxy_secret_file or "")
    async with page(http) as client:
        for secret, sent, name in (("new", "new", "ada"), ("new", SECRET, None), ("", "", None)):
            path.write_text(secret)
            answer = await client.get("/api/user", headers=[(SECRET_HEADER, sent), GOOD[1]])
            assert await answer.json() == {"user": name}
        path.unlink()
        assert await (await client.get("/api/user", headers=GOOD)).json() == {"user": None}


@pytest.mark.parametrize(
    ("path", "behind", "direct"),
    [("/", 200, 403), ("/api/user", 200, 403), ("/events", 200, 403), ("/metrics", 200, 200), ("/healthz", 200, 200)],
)
async def test_only_the_proxy_gets_the_page(http: Http, path: str, behind: int, direct: int) -> None:
    elsewhere = msgspec.structs.replace(http, proxies=("192.0.2.1",))
    for known, status in ((http, behind), (elsewhere, direct), (Http(), 200)):
        async with page(known) as client, client.get(path, headers=GOOD) as answer:
            assert answer.status == status
            assert answer.headers["X-Frame-Options"] == "DENY"
            if status == 403:
                assert "write 127.0.0.1 in http.proxies" in await answer.text()
