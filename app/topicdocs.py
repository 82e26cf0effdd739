"""docs/topics.md, made from app/topics.py: `python -m app.topicdocs` writes it."""

from pathlib import Path

from app.topics import ALL, HOUR_MS, Topic

PAGE = Path(__file__).parents[1] / "docs" / "topics.md"
HEAD = """# Topics

Made from the one table, `app/topics.py` (`python -m app.topicdocs`); `autopilot check` compares the broker with it.

| topic | key | partitions | cleanup | kept | written by | read by | record |
|---|---|---|---|---|---|---|---|
"""
FOOT = """
The inputs must be plain topics: no compaction, no transactions. A hole in their offsets means loss, and a worker that
sees one ends and starts again from its last commit.

Records of ours carry a `schema` field (`app/schemas.py`); the JSON Schemas in [schemas](schemas) are made from the
types (`python -m app.schemadocs`). `link-utilization`, `prefix-traffic` and `actuations` have an `id` that is the same
when a record is sent twice; a decision is known by its epoch and number, a dead letter by its topic, partition and
offset: drop repeats by them.
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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
