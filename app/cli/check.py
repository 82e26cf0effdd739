"""`autopilot check`: lists every problem of a deployment at once, and what to do about each."""

import asyncio
from collections.abc import Collection, Mapping
from importlib.metadata import packages_distributions

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.config.settings import Deployment, Kafka
from app.contract import topics
from app.contract.topics import Topic
from app.errors import DaemonError
from app.kafka import client
from app.kafka.admin import create_topics, missing_topics
from app.kafka.read import unreadable_batches

DISTRIBUTION = "egress-autopilot"
ANSWER_S = 10.0


async def problems_of(deployment: Deployment) -> list[str]:
    """Return every problem of the environment and of the broker's topics; empty if there is none."""
    return [*foreign_packages(), *await _broker_problems(deployment)]


async def create_missing(deployment: Deployment) -> list[str]:
    """Create the topics that the broker lacks and return their names; DaemonError if the broker refuses."""
    kafka = deployment.settings.kafka
    missing = await missing_topics(kafka, topics.named(deployment.pops))
    if missing:
        await create_topics(kafka, missing)
    return list(missing)


def foreign_packages() -> list[str]:
    """Return a problem for each distribution that owns one of our package names: it might be imported instead."""
    owners = packages_distributions()
    return [
        f"package {name} also belongs to {owner}: uninstall {owner}, or use a separate environment"
        for name in ("app", "agents", "tables")
        for owner in owners.get(name, [])
        if owner != DISTRIBUTION
    ]


async def _broker_problems(deployment: Deployment) -> list[str]:
    kafka = deployment.settings.kafka
    try:
        async with asyncio.timeout(ANSWER_S), client.started(client.admin(kafka, ANSWER_S)) as admin:
            problems = await _topic_problems(admin, topics.named(deployment.pops))
            return problems + await _input_problems(kafka, await admin.list_topics(), list(deployment.pops))
    except (KafkaError, TimeoutError) as error:
        return [f"broker {kafka.broker}: {client.describe(error)}; is it running there, is kafka.broker right?"]


async def _topic_problems(admin: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> list[str]:
    existing = {entry["topic"]: entry for entry in await admin.describe_topics()}
    problems = [
        f"topic {name}: missing; create it ({_describe(topic)}), or all of them with `check --create-topics`"
        for name, topic in wanted.items()
        if name not in existing
    ]
    present = {name: topic for name, topic in wanted.items() if name in existing}
    for name, topic in present.items():
        partitions = existing[name]["partitions"]
        if len(partitions) != topic.partitions:
            counts = f"it has {len(partitions)} partitions and needs {topic.partitions}"
            problems.append(f"topic {name}: {counts}; delete it and create it again")
        problems.extend(
            f"topic {name}: only {len(partition['isr'])} of {len(partition['replicas'])} replicas are in sync"
            for partition in partitions
            if len(partition["isr"]) < len(partition["replicas"])
        )
    return problems + await _cleanup_problems(admin, present)


async def _input_problems(kafka: Kafka, existing: Collection[str], pops: Collection[str]) -> list[str]:
    """Return a problem for each input whose newest batch our workers cannot read: they would leave out all such."""
    inputs = [name for topic in topics.INPUTS for pop in pops if (name := topic.for_pop(pop)) in existing]
    try:
        reasons = await unreadable_batches(kafka, inputs) if inputs else {}
    except DaemonError as error:
        return [str(error)]
    return [
        f"topic {name}: its newest batch cannot be read: {reason}; see compression.type of the topic and of its writer"
        for name, reason in reasons.items()
    ]


async def _cleanup_problems(admin: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> list[str]:
    """Return a problem for each topic with another cleanup policy: holes in the offsets of an input must mean loss."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    problems = []
    for response in await admin.describe_configs(resources) if resources else []:
        for resource in response.resources:
            name, values = resource[3], {entry[0]: entry[1] for entry in resource[4]}
            policy = {part.strip() for part in values.get("cleanup.policy", "delete").split(",")}
            if policy != set(wanted[name].cleanup.split(",")):
                problems.append(
                    f"topic {name}: cleanup.policy is {','.join(sorted(policy))}, must be {wanted[name].cleanup}"
                )
    return problems


def _describe(topic: Topic) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    return f"{topic.partitions} partition, {settings}"
