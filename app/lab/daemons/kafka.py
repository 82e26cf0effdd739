"""The broker: one KRaft node from Maven Central's jars with a small heap; topics are created before use."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from aiokafka import TopicPartition

from app.config.settings import Kafka
from app.contract.topics import Topic
from app.kafka import client
from app.kafka.admin import create_topics
from app.lab.daemons.certificates import Issued
from app.lab.daemons.machine import KAFKA_JARS, Site, binary, fill, make_run_dir, open_site
from app.lab.daemons.runner import Probe, Program, Runner

K = TypeVar("K")
SCRAM = "SCRAM-SHA-512"

# 16 bytes in base64. It can be a constant because every stack has its own data directory.
CLUSTER_ID = "egress-autopilot-local"
# The single-threaded garbage collector is the cheapest choice: the simulator needs the other core.
JAVA_OPTIONS = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")


def reached_at(address: str) -> Kafka:
    """Kafka settings for a one-node broker at this address (`host:port`)."""
    return Kafka(broker=address, replication_factor=1)


@asynccontextmanager
async def kafka(
    wanted: Mapping[str, Topic], run_dir: Path | None = None, listeners: Iterable["Listener"] = ()
) -> AsyncIterator[str]:
    """Run only the broker, with these topics, for tests that need no routers; yields its plain address."""
    site = open_site(make_run_dir(run_dir))
    try:
        async with Runner(site.run_dir, site.user) as runner:
            await format_storage(runner, site, secured(site, listeners))
            broker = await start_kafka(runner, site)
            await create_topics(reached_at(broker), wanted)
            yield broker
    finally:
        if run_dir is None:
            shutil.rmtree(site.run_dir)


class Listener(msgspec.Struct, frozen=True):
    """A listener with TLS beside the plain one: what it presents, and whom it lets in.

    `clients` are the CAs, in PEM, whose certificates it demands of clients; None if it demands none. With `users` it
    demands a login by SCRAM, and they are its users with their passwords.
    """

    name: str
    port: int
    presents: Issued
    clients: str | None = None
    users: Mapping[str, str] = {}
    host: str = "localhost"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"{self.host}:{self.port}"


def secured(site: Site, listeners: Iterable[Listener]) -> str:
    """Write what these listeners present, and return the properties that add them to the plain ones."""
    listeners, ports, lines = tuple(listeners), site.ports, []
    for each in listeners:
        prefix = f"listener.name.{each.name.lower()}"
        stores = {"keystore": "".join(each.presents)} | ({"truststore": each.clients} if each.clients else {})
        for store, pem in stores.items():
            path = site.write(f"{each.name.lower()}-{store}.pem", pem)
            lines += [f"{prefix}.ssl.{store}.type=PEM", f"{prefix}.ssl.{store}.location={path}"]
        lines.append(f"{prefix}.ssl.client.auth={'required' if each.clients else 'none'}")
        if each.users:
            login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            lines += [f"{prefix}.sasl.enabled.mechanisms={SCRAM}", f"{prefix}.{SCRAM.lower()}.sasl.jaas.config={login}"]
    protocols = {each.name: "SASL_SSL" if each.users else "SSL" for each in listeners}
    protocols |= {"BROKER": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    reached = [f"BROKER://127.0.0.1:{ports.kafka}", *(f"{each.name}://{each.address}" for each in listeners)]
    binds = [f"BROKER://127.0.0.1:{ports.kafka}", f"CONTROLLER://127.0.0.1:{ports.controller}"]
    binds += [f"{each.name}://127.0.0.1:{each.port}" for each in listeners]
    return "\n".join(
        [
            *lines,
            f"listeners={','.join(binds)}",
            f"advertised.listeners={','.join(reached)}",
            f"listener.security.protocol.map={','.join(f'{name}:{kind}' for name, kind in protocols.items())}\n",
        ]
    )


async def format_storage(runner: Runner, site: Site, more: str = "", users: Mapping[str, str] | None = None) -> None:
    """Write the broker's configuration, followed by the properties in `more`, and format its data directory.

    `users` are those of SCRAM, with their passwords.
    """
    values = {"kafka": site.ports.kafka, "controller": site.ports.controller, "data": site.path("kafka")}
    properties = site.write("kafka.properties", fill("kafka.properties", **values) + more)
    site.write("log4j2.properties", fill("log4j2.properties"))
    argv = (*_java(site), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
    for name, password in (users or {}).items():
        argv = (*argv, "--add-scram", f"{SCRAM}=[name={name},password={password}]")
    await runner.run(Program(name="kafka-format", argv=argv))


async def start_kafka(runner: Runner, site: Site) -> str:
    """Start the broker on a formatted data directory and wait until it accepts connections; its address."""
    port = site.ports.kafka

    async def listens() -> str | None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return f"nothing listens on 127.0.0.1:{port} yet"
        writer.close()
        return None

    argv = (*_java(site), "kafka.Kafka", str(site.path("kafka.properties")))
    await runner.start(Program(name="kafka", argv=argv), listens)
    return f"127.0.0.1:{port}"


@asynccontextmanager
async def arrivals(
    kafka: Kafka, topic: str, wanted: set[K], seen: Callable[[bytes], Iterable[K]]
) -> AsyncIterator[Probe]:
    """A probe that reads the topic from its start until its records, through `seen`, have yielded all of `wanted`."""
    partition = TopicPartition(topic, 0)
    async with client.started(client.consumer(kafka)) as consumer:

        async def probe() -> str | None:
            for message in (await consumer.getmany(partition, timeout_ms=50)).get(partition, ()):
                wanted.difference_update(seen(message.value))
            if not wanted:
                return None
            return f"{len(wanted)} records have not reached {topic}, one of them {next(iter(wanted))}"

        consumer.assign([partition])
        # A new topic begins at 0. Asking the broker for it fails, with a log line, while it is still electing a leader.
        consumer.seek(partition, 0)
        yield probe


def _java(site: Site) -> tuple[str, ...]:
    logging = f"-Dlog4j2.configurationFile={site.path('log4j2.properties')}"
    return (binary("java"), *JAVA_OPTIONS, logging, "-cp", f"{_jars(site)}/*")


def _jars(site: Site) -> Path:
    """A directory of jars that the daemons' user can read: links, as others often cannot enter root's checkout."""
    if site.user is None:
        return KAFKA_JARS
    linked = site.path("kafka-libs")
    if not linked.exists():
        shutil.copytree(KAFKA_JARS, linked, copy_function=_link_or_copy)
    return linked


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
