"""Whether this worker still owns its partitions, and why nothing leaves it while that is not sure.

The broker keeps a member of a group for a session timeout after the heartbeat that it heard last, and gives its
partitions to nobody else. So a worker is sure of them for as long after it *sent* a heartbeat that was answered. While
it is not sure, its records wait in the producer; once the group has forgotten it they are never sent, however late the
broker can take them: a successor may have written newer rows.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka.errors import KafkaError, KafkaTimeoutError

from app import private_names

LOOK_EVERY_S = 0.05


class MembershipLost(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The group has forgotten this worker, so a record was not sent: it belongs to whoever reads its source now."""


class Membership:
    """What the group has confirmed; the consumer's thread writes it, and the producer's reads it."""

    def __init__(self, session_timeout_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._session_timeout_s = session_timeout_s
        self._monotonic_s = monotonic_s
        self._heard_s = -math.inf  # when the last heartbeat was sent that was answered
        self._lost_s = -math.inf
        self._is_lost = False

    def confirm(self, sent_s: float) -> None:
        """Note that the group has answered, as to a member, what was sent at this time."""
        self._heard_s = max(self._heard_s, sent_s)
        self._is_lost = False

    def lose(self) -> None:
        """Note that the group does not know this worker any more, or was left."""
        self._heard_s, self._lost_s, self._is_lost = -math.inf, self._monotonic_s(), True

    def is_sure(self) -> bool:
        """Whether nobody else can own the partitions now."""
        return self._monotonic_s() < self._heard_s + self._session_timeout_s

    def has_lost(self, made_s: float) -> bool:
        """Whether what was made at this time belongs to a membership that is over."""
        return self._is_lost or made_s <= self._lost_s

    def watch(self, coordinator: Any) -> None:
        """Learn from the heartbeats of an aiokafka coordinator."""
        private_names.watch_membership(coordinator, self._confirmed_by, self.lose)

    async def _confirmed_by(self, request: Awaitable[Any]) -> Any:
        sent_s = self._monotonic_s()
        if succeeded := await request:
            self.confirm(sent_s)
        return succeeded

    def guard(self, sender: Any) -> None:
        """Let an aiokafka producer send, or send again, only what this worker is sure to own."""
        private_names.send_only(sender, self._due)

    async def _due(self, batches: Mapping[Any, Any]) -> dict[Any, Any]:
        """Those of the batches that may be sent, as soon as they may; the others have failed."""
        waiting = dict(batches)
        while True:
            for tp, batch in list(waiting.items()):
                if self.has_lost(private_names.created_s(batch)):
                    waiting.pop(tp).failure(MembershipLost("the group has forgotten this worker"))
                elif batch.expired():
                    waiting.pop(tp).failure(KafkaTimeoutError())
            if not waiting or self.is_sure():
                return waiting
            await asyncio.sleep(LOOK_EVERY_S)
