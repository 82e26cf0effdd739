"""What is deleted at a broker, on a broker that answers as Kafka does."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupIdNotFound, NonEmptyGroup

from app.config.settings import Kafka
from app.errors import DaemonError
from app.kafka import admin, client

HERE = Kafka(broker="127.0.0.1:1", session_timeout_s=10.0)


OURS = [f"autopilot-telemetry-ams-{table}-changelog" for table in ("link_windows", "rib")]
NOT_OURS = ["autopilot-telemetry-ams-b-rib-changelog", "autopilot-actuator-ams-rib-changelog", "bmp-ams"]
TOPICS = [*OURS, *NOT_OURS]


class Broker:
    """Stands in for the admin client; a topic that is deleted is listed a little longer."""

    def __init__(self) -> None:
        self.topics = list(TOPICS)
        self.group_code = self.topic_code = 0
        self.listed = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def find_coordinator(self, group: str) -> int:
        return 1

    async def _send_request_to_node(self, node: int, request: Any) -> Any:
        return SimpleNamespace(results=[("group", self.group_code)])

    async def list_topics(self) -> list[str]:
        self.listed += 1
        return [OURS[0], *self.topics] if self.listed == 2 else list(self.topics)

    async def delete_topics(self, names: list[str]) -> Any:
        if not self.topic_code:
            self.topics = [name for name in self.topics if name not in names]
        return SimpleNamespace(topic_error_codes=[(name, self.topic_code) for name in names])


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(client, "admin", lambda kafka: made)
    return made


async def test_a_group_is_deleted_once(broker: Broker) -> None:
    assert await admin.delete_group(HERE, "ours")
    broker.group_code = GroupIdNotFound.errno
    assert not await admin.delete_group(HERE, "ours")


async def test_a_group_with_members_is_left_alone(broker: Broker) -> None:
    broker.group_code = NonEmptyGroup.errno
    with pytest.raises(DaemonError, match=r"group ours has members: stop its workers first; .* for 10 s more"):
        await admin.delete_group(HERE, "ours")


async def test_changelogs_are_deleted_until_nothing_lists_them(broker: Broker) -> None:
    assert await admin.delete_changelogs(HERE, "autopilot-telemetry-ams") == OURS
    assert broker.topics == NOT_OURS, "those of another cell, whose name begins alike, and of the actuator stay"
    assert broker.listed == 3
    assert await admin.delete_changelogs(HERE, "autopilot-telemetry-ams") == []


async def test_a_changelog_that_cannot_be_deleted_is_named(broker: Broker) -> None:
    broker.topic_code = 29
    with pytest.raises(DaemonError, match=f"cannot delete topics: {OURS[0]}: TopicAuthorizationFailedError; {OURS[1]}"):
        await admin.delete_changelogs(HERE, "autopilot-telemetry-ams")
