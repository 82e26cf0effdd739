"""A stand-in for Strimzi, whose operators are on no registry: from its objects it makes what they promise, and no more.

Of a KafkaUser that is its certificate, in a Secret, and its rights; of a KafkaTopic the topic with its partitions.

`python -m tests.cluster.strimzi BROKER FOLDER` does the part that needs the broker: it reads the objects from stdin, as
kubectl lists them, and has the certificate of an administrator in FOLDER.
"""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.admin import NewTopic
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from app import private_names
from app.config.settings import Kafka
from app.errors import AutopilotError, DaemonError
from app.kafka import client
from app.kafka.admin import create
from app.lab.daemons.guard import ADMIN, ALLOW, ANY_HOST, LITERAL, OPERATIONS, PREFIXED, RESOURCES

Objects = Iterable[Mapping[str, Any]]
PATTERNS = {"literal": LITERAL, "prefix": PREFIXED}


def topics(objects: Objects) -> list[NewTopic]:
    """The topics that KafkaTopics ask for."""
    found = [(each["metadata"]["name"], each["spec"]) for each in objects if each["kind"] == "KafkaTopic"]
    return [
        NewTopic(
            name,
            spec["partitions"],
            spec["replicas"],
            topic_configs={key: str(value) for key, value in spec["config"].items()},
        )
        for name, spec in found
    ]


def rights(objects: Objects) -> Iterator[CreateAclsRequest]:
    """The rights that KafkaUsers ask for."""
    for user in objects:
        if user["kind"] != "KafkaUser":
            continue
        principal = f"User:CN={user['metadata']['name']}"
        for acl in user["spec"]["authorization"]["acls"]:
            on = acl["resource"]
            of = RESOURCES[on["type"]], on["name"], PATTERNS[on["patternType"]], principal, ANY_HOST
            yield from (CreateAclsRequest(*of, OPERATIONS[operation], ALLOW) for operation in acl["operations"])


async def make(kafka: Kafka, objects: Sequence[Mapping[str, Any]]) -> None:
    """Make what they ask for; DaemonError with what the broker refuses."""
    await create(kafka, topics(objects))
    async with client.started(client.admin(kafka)) as admin:
        for request in rights(objects):
            [(code, text)] = (await private_names.send_request(admin, request)).creation_responses
            if code:
                raise DaemonError(f"the broker takes no ACL: {for_code(code).__name__} {text or ''}")


def main(broker: str, folder: Path) -> int:
    """Make what the objects on stdin ask for; 1 with a line on stderr if the broker refuses."""
    files = {"cert_file": f"{ADMIN}.crt", "key_file": f"{ADMIN}.key", "ca_file": "ca.crt"}
    paths: dict[str, Any] = {key: str(folder / file) for key, file in files.items()}
    kafka = Kafka(broker=broker, security="mtls", **paths)
    try:
        asyncio.run(make(kafka, msgspec.json.decode(sys.stdin.buffer.read())["items"]))
    except AutopilotError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
