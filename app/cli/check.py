"""`autopilot check`: everything that is wrong with a deployment, at once, and what to do about it."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import packages_distributions

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from app.config.settings import Deployment
from app.contract import topics
from app.contract.topics import Topic
from app.kafka import client
from app.kafka.admin import create_topics, missing_topics

DISTRIBUTION = "egress-autopilot"
ANSWER_S = 10.0


async def problems_of(deployment: Deployment) -> list[str]:
    """What the running system has that the configuration does not allow for; empty when all is well."""
    return [*foreign_packages(), *await _broker_problems(deployment)]


async def create_missing(deployment: Deployment) -> list[str]:
    """Create the topics that the broker lacks; their names. DaemonError when it refuses."""
    kafka = deployment.settings.kafka
    missing = await missing_topics(kafka, topics.named(deployment.pops))
    if missing:
        await create_topics(kafka, missing)
    return list(missing)


def foreign_packages() -> list[str]:
    """Our package names are short: another distribution that owns one of them would be imported instead."""
    owners = packages_distributions()
    return [
        f"package {name} also belongs to {other}: uninstall it, or use an environment of its own"
        for name in ("app", "agents", "tables")
        for other in owners.get(name, [])
        if other != DISTRIBUTION
    ]


async def _broker_problems(deployment: Deployment) -> list[str]:
    kafka = deployment.settings.kafka
    try:
        async with asyncio.timeout(ANSWER_S), client.started(client.admin(kafka, ANSWER_S)) as admin:
            return await _topic_problems(admin, topics.named(deployment.pops))
    except (KafkaError, TimeoutError) as error:
        return [f"broker {kafka.broker}: {error or 'no answer'}; is it running there, is kafka.broker right?"]


async def _topic_problems(admin: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> list[str]:
    found = {entry["topic"]: entry for entry in await admin.describe_topics()}
    problems = [
        f"topic {name}: missing; create it ({_describe(topic)}), or all by `check --create-topics`"
        for name, topic in wanted.items()
        if name not in found
    ]
    there = {name: topic for name, topic in wanted.items() if name in found}
    for name, topic in there.items():
        partitions = found[name]["partitions"]
        if len(partitions) != topic.partitions:
            problems.append(f"topic {name}: {len(partitions)} partitions, needs {topic.partitions}; create it anew")
        problems.extend(
            f"topic {name}: only {len(part['isr'])} of {len(part['replicas'])} replicas are in sync"
            for part in partitions
            if len(part["isr"]) < len(part["replicas"])
        )
    return problems + await _cleanup_problems(admin, there)


async def _cleanup_problems(admin: AIOKafkaAdminClient, wanted: Mapping[str, Topic]) -> list[str]:
    """An input that is compacted has holes in its offsets, which must mean loss and nothing else."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
    problems = []
    for response in await admin.describe_configs(resources) if resources else []:
        for resource in response.resources:
            name, values = resource[3], {entry[0]: entry[1] for entry in resource[4]}
            policy = {part.strip() for part in values.get("cleanup.policy", "delete").split(",")}
            if policy != set(wanted[name].cleanup.split(",")):
                problems.append(
                    f"topic {name}: cleanup.policy is {','.join(sorted(policy))}, needs {wanted[name].cleanup}"
                )
    return problems


def _describe(topic: Topic) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in topic.config.items())
    return f"{topic.partitions} partition, {settings}"
