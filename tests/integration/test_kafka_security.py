"""Every kind of client by TLS, client certificate and SCRAM on a real broker; who is refused is told why, at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.config.inventory import load_pop
from app.config.settings import Kafka, Security
from app.errors import DaemonError, EnvironmentProblem
from app.kafka import client
from app.kafka.admin import missing_topics
from app.kafka.orders import send_control
from app.kafka.read import read_topic
from app.kafka.refusals import CLOSED
from app.lab.daemons import collectors
from app.lab.daemons.certificates import Authority
from app.lab.daemons.kafka import Listener, reached_at
from app.stream.startup import commits_of
from tests.integration.conftest import INVENTORY, unavailable
from tests.integration.secured import PASSWORD, PLACES, USER, WORDS, Secured, secured_broker
from tests.integration.sums_rig import Rig, until
from tests.integration.sums_worker import APP_ID, SOURCE, key_of
from tests.integration.test_bad_start import said
from tests.integration.test_bmp_silence import initiation
from tests.integration.test_check import check
from tests.patience import PATIENCE_S

pytestmark = [
    pytest.mark.services,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("kafka-security"),
]
MODES: tuple[Security, ...] = ("plaintext", "tls", "mtls", "sasl-scram")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker() -> AsyncIterator[Secured]:
    try:
        async with secured_broker() as running:
            yield running
    except EnvironmentProblem as problem:
        unavailable(problem)


@pytest.mark.parametrize("mode", MODES)
async def test_every_kind_of_client_comes_in(broker: Secured, mode: Security) -> None:
    kafka = broker.modes[mode]
    async with client.started(client.producer(kafka)) as producer:
        await producer.send_and_wait(WORDS, mode.encode())
    async with client.started(client.admin(kafka)) as admin:
        assert WORDS in await admin.list_topics()
    group = client.consumer(kafka, group_id=f"words-{mode}", auto_offset_reset="earliest")
    group.subscribe([WORDS])
    async with client.started(group) as consumer, asyncio.timeout(PATIENCE_S):
        while (await consumer.getone()).value != mode.encode():
            pass
        await consumer.commit()
    assert client.why(kafka, TimeoutError()) == "no answer in time", "nothing is left of a refusal"


async def test_a_faust_worker_comes_in_by_each_way(broker: Secured, tmp_path: Path) -> None:
    ways = {mode: kafka for mode, kafka in broker.modes.items() if mode != "plaintext"}
    async with rig_of(broker, tmp_path, ways["tls"]) as rig:
        rig.begin()
        for mode, kafka in ways.items():
            await rig.start(mode, app_id=f"sums-{mode}", kafka=keys_of(kafka))
        await _past(rig, [f"sums-{mode}" for mode in ways], 100)


CASES: dict[str, tuple[Callable[[Secured], Kafka], str]] = {
    "an unknown CA": (
        lambda it: it.kafka("TLS", "tls", ca_file=it.write("strangers.crt", it.strangers.certificate)),
        r"its certificate comes from none of the CAs in kafka\.ca_file \(.*strangers\.crt\).*; write the brokers' CA",
    ),
    "an unknown CA, by default": (
        lambda it: Kafka(broker=it.listeners["TLS"].address, security="tls"),
        r"its certificate comes from none of the CAs of this operating system",
    ),
    "another host name": (
        lambda it: it.kafka("ELSEWHERE", "tls"),
        r"its certificate is not for localhost; write a name that the certificate has in kafka\.broker",
    ),
    "a server's certificate that has expired": (
        lambda it: it.kafka("OVERDUE", "tls"),
        r"its certificate, or a CA's before it, has expired; renew it",
    ),
    "no client certificate": (
        lambda it: it.kafka("MTLS", "tls"),
        r'it wants a certificate of ours; write kafka\.security = "mtls" with kafka\.cert_file and kafka\.key_file',
    ),
    "a client certificate that has expired": (
        lambda it: it.kafka("MTLS", "mtls", **it.identity("old", it.ca.issue("old", days=-1))),
        r"it refuses the certificate in kafka\.cert_file \(.*old\.crt, CN=old by CN=brokers\), which expired at .*;",
    ),
    "a stranger's certificate": (
        lambda it: it.kafka("MTLS", "mtls", **it.identity("odd", it.strangers.issue("odd"))),
        r"\(.*odd\.crt, CN=odd by CN=strangers\); is it of a CA that the brokers trust for clients\?",
    ),
    "a wrong password": (
        lambda it: it.kafka("LOGIN", "sasl-scram", **it.login("wrong", USER, "wrong")),
        r"it refuses the user telemetry with the password in kafka\.password_file \(.*wrong\.password\); write",
    ),
    "a login at a listener without": (
        lambda it: it.kafka("TLS", "sasl-scram", **it.login("right", USER, PASSWORD)),
        r'its listener expects no user and password; write kafka\.security = "tls" or "mtls"',
    ),
    "no login": (lambda it: it.kafka("LOGIN", "tls"), CLOSED[:60]),
    "no TLS": (lambda it: it.kafka(it.listeners["TLS"].address, "plaintext"), CLOSED[:60]),
    "TLS where there is none": (lambda it: it.kafka(it.plain, "tls"), CLOSED[:60]),
    "no such file": (
        lambda it: it.kafka("MTLS", "mtls", cert_file="/nowhere/tls.crt", key_file="/nowhere/tls.key"),
        r"kafka\.cert_file: /nowhere/tls\.crt cannot be read: no such file or directory; put it there",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_who_is_refused_is_told_why_in_one_sentence(broker: Secured, case: str) -> None:
    settings, sentence = CASES[case]
    kafka = settings(broker)
    for refused in (missing_topics(kafka, {}), read_topic(kafka, WORDS), send_control(kafka, "*", True, "a test")):
        with pytest.raises(DaemonError, match=rf"broker {kafka.broker}: .*{sentence}") as caught:
            await asyncio.wait_for(refused, PATIENCE_S)
        assert "\n" not in str(caught.value)


async def test_telemetry_ends_and_check_says_the_same(broker: Secured, tmp_path: Path) -> None:
    kafka = broker.kafka("MTLS", "mtls", **broker.identity("old", broker.ca.issue("old", days=-1)))
    *_, last = (await said(tmp_path, kafka.broker, kafka=keys_of(kafka))).splitlines()
    assert "it refuses the certificate in kafka.cert_file" in last
    status, problems, _ = await check(tmp_path)
    assert status == 1
    [expired] = [problem for problem in problems if problem.startswith("kafka.cert_file: ")]
    assert "/old.crt expired at " in expired
    [refused] = [problem for problem in problems if problem.startswith(f"broker {kafka.broker}: ")]
    assert refused.removeprefix(f"broker {kafka.broker}: ") in last


async def test_a_password_that_changes_needs_no_restart(broker: Secured) -> None:
    kafka = broker.kafka("LOGIN", "sasl-scram", **broker.login("new", USER, "the last one"))
    with pytest.raises(DaemonError, match="it refuses the user"):
        await missing_topics(kafka, {})
    broker.login("new", USER, PASSWORD)
    assert await missing_topics(kafka, {}) == {}


async def test_the_collectors_come_in_with_what_is_rendered_for_them(broker: Secured) -> None:
    """Not by SCRAM: Debian 12 has librdkafka 2.0.2, and Kafka 4 refuses the nonce that it sends until 2.6.1."""
    pop, site, kafka = load_pop(INVENTORY), broker.site, broker.modes["mtls"]
    await collectors.start_sfacctd(broker.runner, site, pop, 1, collectors.Ways(kafka, kafka))
    await broker.runner.stop("sfacctd")
    await collectors.start_pmbmpd(broker.runner, site, pop, kafka)
    async with AsyncExitStack() as sessions:
        for router in pop.router:
            writer = await _connected(site.ports.bmp, router.ibgp_address)
            sessions.callback(writer.close)
            writer.write(initiation(router.bmp_sysname))
        await collectors.wait_for_bmp(broker.runner, kafka, pop, (), {})
    await broker.runner.stop("pmbmpd")


async def test_certificates_rotate_under_load_and_nothing_is_lost(broker: Secured, tmp_path: Path) -> None:
    """The brokers and we get certificates of another CA, and the broker restarts: it takes no others any more."""
    following = Authority("brokers of next year")
    trusted, ours = broker.write("rotating-ca.crt", broker.ca.certificate), broker.ca.issue("telemetry")
    kafka = broker.kafka("MTLS", "mtls", ca_file=trusted, **broker.identity("rotating", ours))
    async with rig_of(broker, tmp_path, kafka) as rig:
        rig.begin()
        worker = await rig.start("disk", kafka=keys_of(kafka))
        await _past(rig, [APP_ID], rig.load.sent + 100)
        broker.write("rotating-ca.crt", broker.ca.certificate + following.certificate)
        broker.identity("rotating", following.issue("telemetry"))
        server = following.issue("broker", PLACES)
        port = broker.listeners["MTLS"].port
        await broker.restart(Listener("MTLS", port, server, clients=following.certificate))
        await _past(rig, [APP_ID], rig.load.sent + 100)
        with pytest.raises(DaemonError, match="comes from none of the CAs"):
            await missing_topics(broker.kafka("MTLS", "mtls", **broker.identity("late", ours)), {})
        await rig.finish()
        assert worker.process.returncode is None
        assert "ca_file, cert_file, key_file changed; new connections use what is there now" in worker.told()
        assert await rig.exact()


@asynccontextmanager
async def rig_of(broker: Secured, folder: Path, kafka: Kafka) -> AsyncIterator[Rig]:
    """Load that comes in as `kafka` says; what it must come to is read from the plain listener."""
    producer, admin = client.producer(kafka, enable_idempotence=True), client.admin(reached_at(broker.plain))
    async with client.started(producer), client.started(admin):
        rig = Rig(broker.plain, broker.runner.pid("kafka"), folder, producer, admin)
        for record in await read_topic(reached_at(broker.plain), SOURCE):  # of a test before this one
            rig.load.ledger[key_of(int(record.value))] += int(record.value)
            rig.load.sent += 1
        try:
            yield rig
        finally:
            await rig.close()


def keys_of(kafka: Kafka) -> dict[str, Any]:
    """What stands in a settings file, or in the options of a worker."""
    keys = ("broker", "security", "ca_file", "cert_file", "key_file", "username", "password_file")
    return {key: value for key in keys if (value := getattr(kafka, key)) is not None}


async def _past(rig: Rig, groups: list[str], offset: int) -> None:
    """Until each group has committed beyond this offset; its worker must not end meanwhile."""

    async def are() -> bool:
        assert all(worker.process.returncode is None for worker in rig.workers), rig.workers[-1].told()[-2000:]
        commits = [await commits_of(rig.admin, group) for group in groups]
        return all(any(tp.topic == SOURCE and at.offset > offset for tp, at in each.items()) for each in commits)

    await until(are, PATIENCE_S)


async def _connected(port: int, source: str) -> asyncio.StreamWriter:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)
            else:
                return writer
