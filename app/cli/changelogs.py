"""What `autopilot check` finds at the changelogs, from which a worker that has lost its disk rebuilds its tables."""

from collections.abc import Iterable, Iterator, Mapping

from app.cli.decision_size import TOPIC_BYTES_DEFAULT
from app.contract import topics
from app.contract.topics import CHANGELOG_CONFIG, ENVELOPE_BYTES, RECORD_BYTES_MAX, TABLES

POLICY, LAG, SIZE = "cleanup.policy", "min.compaction.lag.ms", "max.message.bytes"
BYTES_MIN = RECORD_BYTES_MAX + ENVELOPE_BYTES


def changelogs(existing: Iterable[str], cells: Iterable[str]) -> list[str]:
    """Those of the existing topics that are changelogs of our cells, sorted; a worker creates them at its start."""
    ours = {name for cell in cells for worker in TABLES for name in topics.changelogs(worker, cell)}
    return sorted(ours.intersection(existing))


def changelog_problems(name: str, partitions: int, config: Mapping[str, str]) -> Iterator[str]:
    """A problem for each property of a changelog with which rows would be lost, or refused by the broker."""
    if partitions != 1:
        yield (
            f"topic {name}: it has {partitions} partitions and needs 1; stop its worker, delete the topic and the"
            " worker's folder in data_dir, and start it: its windows begin again"
        )
    if (policy := config.get(POLICY, "delete")) != CHANGELOG_CONFIG[POLICY]:
        yield (
            f"topic {name}: {POLICY} is {policy}, must be {CHANGELOG_CONFIG[POLICY]}: rows older than retention.ms"
            f" ({config.get('retention.ms', 'of the broker')}) are deleted, and a worker that loses its disk"
            f" begins again; {_change(name, POLICY, CHANGELOG_CONFIG[POLICY])}"
        )
    if int(config.get(LAG, 0)) < int(CHANGELOG_CONFIG[LAG]):
        yield (
            f"topic {name}: {LAG} is {config.get(LAG, 0)}, must be at least {CHANGELOG_CONFIG[LAG]}: an old row of a"
            f" frozen worker could outlive a newer one; {_change(name, LAG, CHANGELOG_CONFIG[LAG])}"
        )
    if int(config.get(SIZE, TOPIC_BYTES_DEFAULT)) < BYTES_MIN:
        yield (
            f"topic {name}: {SIZE} is {config[SIZE]}, must be at least {BYTES_MIN}, or the broker refuses a large row"
            f" and its worker ends; {_change(name, SIZE, str(TOPIC_BYTES_DEFAULT))}"
        )


def _change(name: str, key: str, value: str) -> str:
    return f"use `kafka-configs --alter --topic {name} --add-config {key}={value}`"
