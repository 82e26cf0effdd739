"""Who may do what at the broker: an identity for each component of each PoP or cell, and its rights.

They follow from the table of topics. All else is denied. `autopilot render acls` prints them, and the laboratory's
broker has just them. Kafka adds two rights by itself: who may read, write or delete something may describe it, and who
may write to any topic may do so idempotently.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from app.contract import topics
from app.contract.topics import TABLES, Component, Topic, app_id, changelogs

Operation = Literal["Read", "Write", "Create", "Delete", "Describe", "DescribeConfigs"]
OF_A_POP: tuple[Component, ...] = ("sfacctd", "pmbmpd")
OF_A_CELL: tuple[Component, ...] = ("telemetry", "actuator")


class Right(NamedTuple):
    """What may be done with one topic or consumer group or, if `prefixed`, all whose names begin so."""

    resource: Literal["topic", "group"]
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


class KafkaIdentity(NamedTuple):
    """A client of the broker: its name, as in its certificate or login, and everything that it may do."""

    name: str
    component: Component
    rights: tuple[Right, ...]


def identities(cells: Mapping[str, Collection[str]]) -> list[KafkaIdentity]:
    """All identities of a deployment; `cells` are its PoPs by cell."""
    found = []
    for component in get_args(Component):
        if component in OF_A_POP:
            scopes = {pop: [pop] for pops in cells.values() for pop in pops}
        elif component in OF_A_CELL:
            scopes = {cell: list(pops) for cell, pops in cells.items()}
        else:
            scopes = {"": [pop for pops in cells.values() for pop in pops]}
        for scope, pops in scopes.items():
            rights = (*_of_topics(component, pops), *_besides(component, scope, cells))
            found.append(KafkaIdentity(name_of(component, scope), component, rights))
    return found


def name_of(component: Component, scope: str) -> str:
    """The name of the identity; `scope` is the PoP of a collector or the cell of a worker, and nothing to others."""
    return app_id(component, scope) if component in (*OF_A_POP, *OF_A_CELL) else f"autopilot-{component}"


def _of_topics(component: Component, pops: Collection[str]) -> Iterator[Right]:
    for name, topic in topics.named(pops).items():
        if operations := _operations(component, topic):
            yield Right("topic", name, operations)


def _operations(component: Component, topic: Topic) -> tuple[Operation, ...]:
    may: dict[Operation, bool] = {
        "Read": component in topic.readers,
        "Write": component in topic.writers,
        "Describe": component in topic.watchers,
        "Create": component == "operator",  # check --create-topics
        "DescribeConfigs": component == "operator",  # check
    }
    return tuple(operation for operation, allowed in may.items() if allowed)


def _besides(component: Component, scope: str, cells: Collection[str]) -> Iterator[Right]:
    """Rights to what is in no table of topics: changelogs, which a worker and `state reset` own, and groups."""
    if component in OF_A_CELL:
        for name in changelogs(component, scope):
            yield Right("topic", name, ("Read", "Write", "Create", "Delete"))
        yield Right("group", app_id(component, scope), ("Read", "Delete"))
    elif component == "operator":
        for cell in cells:
            for worker in TABLES:
                yield from (Right("topic", name, ("Describe", "DescribeConfigs")) for name in changelogs(worker, cell))
    elif component == "consumer":
        yield Right("group", name_of(component, scope), ("Read",), prefixed=True)
