"""Everything that runs: a broker, the provider, the containers of the view's pod, and TLS in front of them."""

import asyncio
import json
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from app.contract import topics
from app.lab.daemons.certificates import Authority, Issued
from app.lab.daemons.kafka import Listener, kafka
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Probe, Program, Runner
from tests.deploy.chart import LOGIN, Values, template, values
from tests.sso.pod import HERE, Container, Ports, containers
from tests.sso.programs import Programs

POP = "iad90"
HOST = "autopilot.example.net"
ADA, BEN, EVE = "ada@example.net", "ben@example.net", "eve@example.net"
GROUPS = {ADA: LOGIN["groups"], BEN: LOGIN["groups"], EVE: ["sales"]}
Headers = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    """What was answered; `location` is where it leads elsewhere."""

    status: int
    location: str
    text: str


class Rig:
    """The programs of one run, in `folder`."""

    def __init__(self, runner: Runner, folder: Path, built: Programs) -> None:
        self.ports = Ports(free_port(), free_port())
        self.gateway_port = free_port()
        self.proxy_secret = secrets.token_urlsafe(32)
        self._provider_port, self._broker_port = free_port(), free_port()
        self._client_secret = secrets.token_urlsafe(32)
        self._runner, self._folder, self._built = runner, folder, built
        self._authority = Authority("everybody's")
        self._containers: Mapping[str, Container] = {}

    @property
    def issuer(self) -> str:
        """The address of the provider."""
        return f"https://localhost:{self._provider_port}"

    def values(self) -> Values:
        """Values of the chart, of which nothing but addresses is of this run."""
        wanted = values(POP, kafka={"broker": f"localhost:{self._broker_port}"})
        wanted["view"] |= {"host": HOST, "login": {**LOGIN, "issuer": self.issuer, "ca": "ca.crt"}}
        return wanted

    @asynccontextmanager
    async def started(self, helm: Path) -> AsyncIterator[None]:
        """All of it, until the block is left."""
        broker = self._issued("localhost")
        listener = Listener("MTLS", self._broker_port, broker, clients=self._authority.certificate)
        self._containers = containers(template(helm, self.values()), self._secrets(), self._folder / "pod", self.ports)
        async with kafka(topics.named([POP]), listeners=[listener]):
            await self._start_provider()
            await self.start_view()
            await self._start_proxy()
            async with self._gateway():
                yield

    def set_groups(self, groups: Mapping[str, list[str]]) -> None:
        """Let users be in these groups from now on."""
        (self._folder / "users.json").write_text(json.dumps(groups), encoding="utf-8")

    async def start_view(self) -> None:
        """Start the view, which reads its history."""
        view = self._containers["view"]
        argv = (sys.executable, "-m", "app", *view.args)
        await self._runner.start(Program(name="view", argv=argv, env=view.env), self._caught_up)

    async def stop_view(self) -> None:
        """End the view, and with it all streams."""
        await self._runner.stop("view")

    async def ask(self, path: str, headers: Headers = (), cookies: str = "") -> Answer:
        """Ask the proxy, as the Gateway passes on what somebody asks."""
        more = [("Host", HOST), *([("Cookie", cookies)] if cookies else [])]
        return await _ask(f"http://{HERE}:{self.ports.page}{path}", [*more, *headers], HERE)

    async def ask_view(self, path: str, headers: Headers = (), source: str = HERE) -> Answer:
        """Ask the view without the proxy, from this address: from another than HERE, as other pods would."""
        return await _ask(f"http://{HERE}:{self.ports.view}{path}", [("Host", HOST), *headers], source)

    def _issued(self, name: str) -> Issued:
        return self._authority.issue(name, [name])

    def _secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The Secrets that others would make."""
        ca, user = self._authority.certificate, self._authority.issue("autopilot-view")
        login = {
            "client-secret": self._client_secret,
            "cookie-secret": secrets.token_hex(16),
            "proxy-secret": self.proxy_secret,
            "ca.crt": ca,
        }
        return {
            LOGIN["secret"]: login,
            "autopilot-cluster-ca-cert": {"ca.crt": ca},
            "autopilot-view": {"user.crt": user.certificate, "user.key": user.key},
        }

    async def _start_provider(self) -> None:
        self.set_groups(GROUPS)
        issued = self._issued("localhost")
        client = {
            "client_id": LOGIN["clientId"],
            "client_secret": self._client_secret,
            "redirect_uris": [f"https://{HOST}/oauth2/callback"],
        }
        settings = {
            "port": self._provider_port,
            "tls": {"cert": issued.certificate, "key": issued.key},
            "client": client,
            "users": str(self._folder / "users.json"),
            "unrefreshed": [BEN],
        }
        path = self._folder / "provider.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        argv = (str(self._built.node), str(self._built.provider), str(path))
        await self._runner.start(Program(name="provider", argv=argv), _listens(self._provider_port))

    async def _start_proxy(self) -> None:
        proxy = self._containers["oauth2-proxy"]
        argv = (str(self._built.oauth2_proxy), *proxy.args)
        await self._runner.start(Program(name="oauth2-proxy", argv=argv, env=proxy.env), _listens(self.ports.page))

    async def _caught_up(self) -> str | None:
        try:
            answer = await self.ask_view("/healthz")
        except aiohttp.ClientError as error:
            return str(error)
        return None if json.loads(answer.text)["caught_up"] else "it reads its history"

    @asynccontextmanager
    async def _gateway(self) -> AsyncIterator[None]:
        """TLS for HOST, as the Gateway of a cluster has it."""
        path = self._folder / "gateway.pem"
        path.write_text("".join(self._issued(HOST)), encoding="utf-8")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)

        async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, here = await asyncio.open_connection(HERE, self.ports.page)
            await asyncio.gather(_copy(reader, here), _copy(there, writer))

        async with await asyncio.start_server(passed_on, HERE, self.gateway_port, ssl=context):
            yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until either side ends."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def _ask(url: str, headers: list[tuple[str, str]], source: str) -> Answer:
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(url, headers=headers, allow_redirects=False) as answer,
    ):
        location = answer.headers.get("Location", "")
        text = "" if answer.content_type == "text/event-stream" else await answer.text()  # a stream has no end
        return Answer(answer.status, location, text)


def _listens(port: int) -> Probe:
    async def probe() -> str | None:
        try:
            _, writer = await asyncio.open_connection(HERE, port)
        except OSError:
            return f"nothing listens on {HERE}:{port} yet"
        writer.close()
        return None

    return probe
