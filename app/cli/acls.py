"""The rights of app/contract/identities.py in the words of Kafka's own tool, and of Strimzi."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from shlex import join

from app.contract.identities import KafkaIdentity, Right

NAME = "NAME"  # where the name of an identity stands in a principal
PROPERTIES = "admin.properties"
COMMON_NAME_MAX = 64  # of a certificate
IS_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?").fullmatch  # of Kubernetes
KAFKA_USER = """---
apiVersion: kafka.strimzi.io/v1  # v1beta2 before Strimzi 0.49
kind: KafkaUser
metadata:
  name: {name}
  labels:
    strimzi.io/cluster: {cluster}
spec:
  authentication:
    type: {authentication}
  authorization:
    type: simple
    acls:
"""


def commands(identities: Sequence[KafkaIdentity], broker: str, principal: str) -> Iterator[str]:
    """A call of kafka-acls.sh for each identity and kind of right; `principal` has NAME in it."""
    tool = ("kafka-acls.sh", "--bootstrap-server", broker, "--command-config", PROPERTIES, "--add")
    for identity in identities:
        who = ("--allow-principal", principal.replace(NAME, identity.name))
        for (resource, operations, prefixed), rights in groupby(sorted(identity.rights, key=_kind), _kind):
            may = (word for operation in operations for word in ("--operation", operation))
            names = (word for right in rights for word in (f"--{resource}", right.name))
            pattern = ("--resource-pattern-type", "prefixed") if prefixed else ()
            yield join((*tool, *who, *may, *pattern, *names))


def _kind(right: Right) -> tuple[str, tuple[str, ...], bool]:
    return right.resource, right.operations, right.prefixed


def kafka_users(identities: Sequence[KafkaIdentity], cluster: str, authentication: str) -> Iterator[str]:
    """A KafkaUser for each identity, in YAML; ValueError if Kubernetes or a certificate cannot have its name."""
    for identity in identities:
        if not IS_OBJECT_NAME(identity.name) or len(identity.name) > COMMON_NAME_MAX:
            wanted = f"small letters, digits, hyphens and dots, and at most {COMMON_NAME_MAX} of them"
            raise ValueError(f"{identity.name}: a KafkaUser cannot have this name: {wanted}")
        head = KAFKA_USER.format(name=identity.name, cluster=cluster, authentication=authentication)
        yield head + "".join(map(_rule, identity.rights))


def _rule(right: Right) -> str:
    pattern = "prefix" if right.prefixed else "literal"
    resource = f"{{type: {right.resource}, name: {right.name}, patternType: {pattern}}}"
    return f"      - resource: {resource}\n        operations: [{', '.join(right.operations)}]\n"
