"""docs/reference/topics.md from topics.py, and docs/reference/schemas from schemas.py: `python -m app.contract.docs` writes both."""

import json
from pathlib import Path

import msgspec

from app.contract.schemas import PUBLISHED
from app.contract.topics import ALL, HOUR_MS, Topic

DOCS = Path(__file__).parents[2] / "docs" / "reference"
PAGE = DOCS / "topics.md"
FOLDER = DOCS / "schemas"
HEAD = """# Topics

Made from the one table, `app/contract/topics.py` (`python -m app.contract.docs`); `autopilot check` compares the broker
with it.

| topic | key | partitions | cleanup | kept | written by | read by | record |
|---|---|---|---|---|---|---|---|
"""
FOOT = """
The inputs must be plain topics: no compaction, no transactions. A hole in their offsets means loss, and a worker that
sees one ends and starts again from its last commit.

Records of ours carry a `schema` field (`app/contract/schemas.py`); the JSON Schemas in [schemas](schemas) are made from
the types by the same command. `link-utilization`, `prefix-traffic` and `actuations` have an `id` that is the same when
a record is sent twice; a decision is known by its epoch and number, a dead letter by its topic, partition and offset:
drop repeats by them.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"| {' | '.join(_cells(topic))} |\n" for topic in ALL) + FOOT


def _cells(topic: Topic) -> list[str]:
    name = f"`{topic.name}`"
    if topic.schema:
        name_and_version = topic.schema.replace("/", "-")
        record = f"[`{topic.schema}`](schemas/{name_and_version}.json): {topic.record}"
    else:
        record = topic.record
    cleanup = topic.cleanup.replace(",", ", ")
    return [name, topic.key, str(topic.partitions), cleanup, _kept(topic), topic.writers, topic.readers, record]


def _kept(topic: Topic) -> str:
    """A topic that is only compacted keeps the last record of each key, however old."""
    if topic.cleanup == "compact":
        return "last of each key"
    days = topic.retention_ms // (24 * HOUR_MS)
    return "1 day" if days == 1 else f"{days} days"


def schemas() -> dict[str, str]:
    """File name -> JSON Schema, one a record type; the version is part of the name."""
    by_name = {}
    for record in PUBLISHED:
        default = next(field.default for field in msgspec.structs.fields(record) if field.name == "schema")
        name = f"{str(default).replace('/', '-')}.json"
        by_name[name] = json.dumps(msgspec.json.schema(record), indent=2) + "\n"
    return by_name


def main() -> None:
    """Write both."""
    PAGE.write_text(page(), encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    main()
