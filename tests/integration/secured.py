"""One broker with a listener for each way to reach it, and some that nobody should trust; certificates of one CA."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.config.settings import Kafka, Security
from app.contract import topics
from app.contract.topics import Topic
from app.kafka.admin import create_topics
from app.lab.daemons.certificates import Authority, Issued
from app.lab.daemons.kafka import Listener, format_storage, reached_at, secured, start_kafka
from app.lab.daemons.machine import Site, make_run_dir, open_site
from app.lab.daemons.ports import free_port
from app.lab.daemons.runner import Runner
from tests.integration.sums_rig import NUMBERS
from tests.integration.sums_worker import SOURCE

USER, PASSWORD = "telemetry", "p4=ss word"
PLACES = ("localhost", "127.0.0.1")
POP = "rhv1000"
WORDS = "words"


class Secured:
    """The broker, and what clients need to reach it."""

    def __init__(self, site: Site, runner: Runner) -> None:
        self.site, self.runner = site, runner
        self.ca, self.strangers = Authority("brokers"), Authority("strangers")
        server = self.ca.issue("broker", PLACES)
        elsewhere, overdue = self.ca.issue("broker", ["elsewhere.example"]), self.ca.issue("broker", PLACES, days=-1)
        self.listeners = {
            each.name: each
            for each in (
                Listener("TLS", free_port(), server),
                Listener("MTLS", free_port(), server, clients=self.ca.certificate),
                Listener("LOGIN", free_port(), server, users={USER: PASSWORD}),
                Listener("ELSEWHERE", free_port(), elsewhere),
                Listener("OVERDUE", free_port(), overdue),
            )
        }
        self.plain = ""
        self.modes: dict[Security, Kafka] = {}  # settings that are right
        self.trusted = self.write("ca.crt", self.ca.certificate)

    async def start(self) -> None:
        more = secured(self.site, self.listeners.values())
        await format_storage(self.runner, self.site, more, {USER: PASSWORD})
        self.plain = await start_kafka(self.runner, self.site)
        self.modes = {
            "plaintext": self.kafka(self.plain, "plaintext"),
            "tls": self.kafka("TLS", "tls"),
            "mtls": self.kafka("MTLS", "mtls", **self.identity("right", self.ca.issue("telemetry"))),
            "sasl-scram": self.kafka("LOGIN", "sasl-scram", **self.login("right", USER, PASSWORD)),
        }
        words = Topic(WORDS, "none", 1, 3_600_000, "delete", (), ())
        await create_topics(reached_at(self.plain), {SOURCE: NUMBERS, WORDS: words} | topics.named([POP]))

    async def restart(self, listener: Listener) -> None:
        """Start the broker again, with this in place of the listener of its name."""
        self.listeners[listener.name] = listener
        await self.runner.stop("kafka")
        secured(self.site, self.listeners.values())
        await start_kafka(self.runner, self.site)

    def kafka(self, listener: str, security: Security, **keys: str) -> Kafka:
        """Settings for a listener, which trust the brokers' CA if nothing else is said."""
        trust = {} if security == "plaintext" else {"ca_file": self.trusted}
        address = self.listeners[listener].address if listener in self.listeners else listener
        chosen: dict[str, Any] = {"broker": address, "security": security} | trust | keys
        return Kafka(replication_factor=1, **chosen)

    def identity(self, name: str, issued: Issued) -> dict[str, str]:
        """The keys of `[kafka]` for this certificate, in files of this name."""
        certificate, key = self.write(f"{name}.crt", issued.certificate), self.write(f"{name}.key", issued.key)
        return {"cert_file": certificate, "key_file": key}

    def login(self, name: str, user: str, password: str) -> dict[str, str]:
        return {"username": user, "password_file": self.write(f"{name}.password", f"{password}\n")}

    def write(self, name: str, text: str) -> str:
        """A file that the collectors, which run as another user, can read; its path."""
        return str(self.site.write(name, text))


@asynccontextmanager
async def secured_broker() -> AsyncIterator[Secured]:
    site = open_site(make_run_dir(None))
    try:
        async with Runner(site.run_dir, site.user) as runner:
            broker = Secured(site, runner)
            await broker.start()
            yield broker
    finally:
        shutil.rmtree(site.run_dir)
