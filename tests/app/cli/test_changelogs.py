"""What `autopilot check` says of changelogs that somebody has altered."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource

from app.cli.changelogs import changelog_problems, changelogs
from app.cli.check import _topic_problems
from app.config.settings import Deployment, Settings
from app.contract.topics import CHANGELOG_CONFIG
from tests.pops import demo_pop

NAME = "autopilot-telemetry-ams1-rib-changelog"
WELL = {**CHANGELOG_CONFIG, "retention.ms": "604800000", "max.message.bytes": "1048588"}


def test_they_are_known_by_the_names_of_our_cells() -> None:
    actuators, anothers = "autopilot-actuator-ams1-rib-changelog", "autopilot-telemetry-lon3-rib-changelog"
    assert changelogs([NAME, actuators, anothers, "decisions-ams1"], ["ams1"]) == [actuators, NAME]


def test_what_a_worker_creates_is_well() -> None:
    assert list(changelog_problems(NAME, 1, WELL)) == []
    assert list(changelog_problems(NAME, 1, CHANGELOG_CONFIG)) == []


@pytest.mark.parametrize(
    ("change", "said", "command"),
    [
        (
            {"cleanup.policy": "delete"},
            "cleanup.policy is delete, must be compact: rows older than retention.ms (604800000) are deleted",
            "cleanup.policy=compact",
        ),
        ({"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete, must be", "cleanup.policy=compact"),
        ({"min.compaction.lag.ms": "0"}, "is 0, must be at least 86400000", "min.compaction.lag.ms=86400000"),
        ({"max.message.bytes": "100000"}, "is 100000, must be at least 965536", "max.message.bytes=1048588"),
    ],
)
def test_what_was_altered_is_said_with_the_command(change: dict[str, str], said: str, command: str) -> None:
    [problem] = changelog_problems(NAME, 1, WELL | change)
    assert problem.startswith(f"topic {NAME}: ")
    assert said in problem
    assert problem.endswith(f"use `kafka-configs --alter --topic {NAME} --add-config {command}`")


async def test_check_looks_at_those_that_exist() -> None:
    pop = demo_pop()
    name = f"autopilot-telemetry-{pop.name}-rib-changelog"
    partition = {"isr": [1, 2], "replicas": [1, 2, 3]}
    admin: Any = SimpleNamespace(describe_configs=described)
    problems = await _topic_problems(
        admin, Deployment(Settings(pops=("a",)), {pop.name: pop}), {name: {"partitions": [partition]}}
    )
    told = [problem for problem in problems if problem.startswith(f"topic {name}: ")]
    assert [problem.removeprefix(f"topic {name}: ")[:30] for problem in told] == [
        "only 2 of 3 replicas are in sy",
        "cleanup.policy is delete, must",
        "min.compaction.lag.ms is 0, mu",
    ]


async def described(resources: Sequence[ConfigResource]) -> list[Any]:
    """As a broker answers for topics that somebody has created with its defaults."""
    defaults = [("cleanup.policy", "delete"), ("min.compaction.lag.ms", "0"), ("max.message.bytes", "1048588")]
    return [SimpleNamespace(resources=[(0, "", 2, resource.name, defaults) for resource in resources])]


def test_one_with_more_partitions_has_to_go() -> None:
    [problem] = changelog_problems(NAME, 2, WELL)
    assert problem.startswith(f"topic {NAME}: it has 2 partitions and needs 1; stop its worker, delete the topic")
