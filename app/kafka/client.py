"""The one door to Kafka: every consumer, producer and admin client of the product is made here, Faust's included.

The settings' `kafka` table says how to reach the broker. The caller says what a client is for and how long it waits.

aiokafka 0.14 takes certificates and passwords when a client is made, and logs why a connection failed, but raises
without the reason. So each connection of each client is opened here: it stands in for `aiokafka.client.create_conn`,
takes the credentials as they are now, and notes why the broker refused it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    CommitFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from app import private_names
from app.clock import SystemClock
from app.config.settings import Kafka
from app.kafka.bounded import bound_consumers
from app.kafka.credentials import Credentials, credentials_of
from app.kafka.refusals import CLOSED, MECHANISM, refusal
from app.tasks import is_cancelled

C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)
NOT_ALLOWED = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)
MEANINGS: dict[type[Exception], str] = {
    KafkaConnectionError: "no connection",
    NodeNotReadyError: "no connection",
    KafkaTimeoutError: "no answer in time",
    TimeoutError: "no answer in time",
    CommitFailedError: "the group changed before the commit",
}
# aiokafka connects again at once, 2000 times a second while its broker restarts (seen): by TLS a load for both sides.
PAUSE_S = 0.1
UNREACHED = (KafkaConnectionError, NodeNotReadyError, KafkaTimeoutError, TimeoutError)
PROTOCOLS = {"plaintext": "PLAINTEXT", "tls": "SSL", "mtls": "SSL", "sasl-scram": "SASL_SSL"}


def consumer(kafka: Kafka, **options: Any) -> AIOKafkaConsumer:
    """A consumer, not started, that commits nothing by itself; `options` are aiokafka's own."""
    bound_consumers()
    return AIOKafkaConsumer(**_connection(kafka), enable_auto_commit=False, **options)


def producer(kafka: Kafka, **options: Any) -> AIOKafkaProducer:
    """A producer, not started, whose records are confirmed by all replicas in sync; `options` are aiokafka's own."""
    return AIOKafkaProducer(**_connection(kafka), acks="all", **options)


def admin(kafka: Kafka, answer_s: float = 40.0) -> AIOKafkaAdminClient:
    """An admin client, not started; each answer must come within `answer_s` seconds."""
    return AIOKafkaAdminClient(**_connection(kafka), request_timeout_ms=int(answer_s * 1000))


@asynccontextmanager
async def started(client: C) -> AsyncIterator[C]:
    """Start the client, and stop it whatever happens; KafkaError if no broker answers."""
    try:
        await client.start()
        yield client
    finally:
        if isinstance(client, AIOKafkaConsumer):
            await _stop(client)
        else:
            await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer and close its connections, also while a failed fetch of it waits to be tried again.

    aiokafka 0.14 lets the cancellation of that fetch out of `stop`, as if somebody had cancelled who waits for it, and
    leaves the connections open.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        for fetch in private_names.fetches_of(private_names.fetcher_of(consumer)):
            fetch.cancel()
        await private_names.connections_of(consumer).close()
        if is_cancelled():
            raise


def describe(error: Exception) -> str:
    """What a failed request means, for people: aiokafka's own texts show Python objects."""
    for kind, meaning in MEANINGS.items():
        if isinstance(error, kind):
            return meaning
    name = type(error).__name__
    if isinstance(error, NOT_ALLOWED):
        return f"{name}: our identity may not do this; give it the rights that `autopilot render acls` prints"
    if isinstance(error, BrokerResponseError):
        return f"{name}: {error.description}"
    return str(error).removeprefix("KafkaError: ") or name


def why(kafka: Kafka, error: Exception) -> str:
    """What a failed request means: if a broker has refused us, why, and what to do; else as `describe` says."""
    refusals = [*credentials_of(kafka).refusals.values()]
    return refusals[-1] if refusals and isinstance(error, UNREACHED) else describe(error)


def unreachable(kafka: Kafka, error: Exception) -> str:
    """The whole sentence about a broker that did not answer, with what to do."""
    reason = why(kafka, error)
    if reason == describe(error) and not isinstance(error, NOT_ALLOWED):
        reason += "; is it running there, is kafka.broker right?"
    return f"broker {kafka.broker}: {reason}"


def _connection(kafka: Kafka) -> dict[str, Any]:
    """The options by which every client reaches the broker."""
    private_names.connect_by(_connect)
    options = {
        "bootstrap_servers": kafka.broker,
        "security_protocol": PROTOCOLS[kafka.security],
        "ssl_context": credentials_of(kafka),  # `_connect` takes the context of the moment from it
    }
    if kafka.security == "sasl-scram":
        options |= {"sasl_mechanism": MECHANISM, "sasl_plain_username": kafka.username}
    return options


async def _connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    """Open one connection of a client; a failure that is more than nobody listening is noted for `why`."""
    credentials = options.get("ssl_context")
    if not isinstance(credentials, Credentials):  # of a client that was not made here
        return await create_conn(host, port, **options)
    address, refusals = (host, port), credentials.refusals

    def closed(_: AIOKafkaConnection, reason: CloseReason) -> None:
        if reason == CloseReason.CONNECTION_BROKEN:
            refusals[address] = CLOSED

    if options.get("on_close") is None:  # a first connection, for one request: who wants a login closes it only then
        options["on_close"] = closed
    try:
        loaded = credentials.current()
        options |= {"ssl_context": loaded.context, "sasl_plain_password": loaded.password}
        connection = await create_conn(host, port, **options)
    except (OSError, KafkaError, TimeoutError, ValueError) as error:
        refusals.pop(address, None)
        await asyncio.sleep(PAUSE_S)
        if (reason := refusal(credentials, host, error, SystemClock().now_s())) is None:
            raise
        refusals[address] = reason
        raise KafkaConnectionError(reason) from error
    refusals.pop(address, None)
    return connection
