"""Records that were refused because of their signature: counted by topic and cause, logged, and kept to be shown."""

import logging
from collections.abc import Iterable

from app import metrics
from app.clock import utc
from app.contract.schemas import Refusals
from app.contract.signing import Untrusted
from app.logs import OFTEN

log = logging.getLogger(__name__)


class RefusalLog:
    """What this process refused, and when it came to Kafka at last."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], tuple[int, float]] = {}

    def note(self, topic: str, record: Untrusted, at_s: float) -> None:
        """Count a record that came at Kafka time `at_s`. What its sender chose is not logged: each would be news."""
        count, last_s = self._records.get((topic, record.cause), (0, 0.0))
        self._records[topic, record.cause] = count + 1, max(last_s, at_s)
        metrics.REFUSED.labels(topic, record.cause).inc()
        log.warning("%s: refused a record: %s", topic, record.cause, extra=OFTEN)

    def of(self, topics: Iterable[str]) -> tuple[Refusals, ...]:
        """What was refused of these topics."""
        wanted = set(topics)
        return tuple(
            Refusals(topic, cause, count, utc(last_s))
            for (topic, cause), (count, last_s) in sorted(self._records.items())
            if topic in wanted
        )
