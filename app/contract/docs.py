"""Writes topics.md, notices.md and schemas in docs/reference from topics.py, notices.py and schemas.py.

Run `python -m app.contract.docs`.
"""

import json
from pathlib import Path

import msgspec

from app.contract.notices import KINDS
from app.contract.schemas import PUBLISHED, Signed
from app.contract.signing import SIGNATURE
from app.contract.topics import ALL, HOUR_MS, Topic

DOCS = Path(__file__).parents[2] / "docs" / "reference"
PAGE = DOCS / "topics.md"
NOTICES_PAGE = DOCS / "notices.md"
FOLDER = DOCS / "schemas"
HEAD = """# Topics

This page is generated from `app/contract/topics.py` (`make docs`); `autopilot check` compares the broker with the same
table.

| topic | key | partitions | cleanup | kept | written by | read by | record |
|---|---|---|---|---|---|---|---|
"""
FOOT = """
sfacctd and pmbmpd are the collectors of a PoP, `operator` is the command line, and `consumer` is whoever reads our
outputs. `autopilot render acls` turns these two columns into rights at the broker
([security](../operator/security.md#who-may-do-what)). The view sees when something was written to `sfacctd-flows-<pop>`
and `bmp-<pop>`, but reads no record of them.

The inputs must not be compacted: a hole in their offsets means loss, and a worker that sees one ends itself and starts
again from its last commit. Their writers may use any codec, and transactions: what was aborted is not read.

Records of `decisions-<pop>` and `clock` carry the broker's time (`message.timestamp.type=LogAppendTime`), all others
that of their writer.

Our own records carry a `schema` field (`app/contract/schemas.py`); the same command generates the JSON Schemas in
[schemas](schemas). A record may be sent twice. Drop repeats by the `id` of `link-utilization`, `prefix-traffic` and
`actuations`, by epoch and seq of a decision, and by topic, partition, offset and index of a dead letter, whose
`records` say for how many it stands.
"""


NOTICES_HEAD = """# Notices

This page is generated from `app/contract/notices.py` (`make docs`). A notice says what is wrong now: its kind, where
(a PoP, router, link, address or collector), and a sentence. [Operating](../operator/operating.md#notices) says who
shows them.

| kind | what it means | what to do |
|---|---|---|
"""


def notices_page() -> str:
    """The whole text of notices.md."""
    return NOTICES_HEAD + "".join(f"| `{kind}` | {known.means} | {known.do} |\n" for kind, known in KINDS.items())


def page() -> str:
    """The whole text of topics.md."""
    return HEAD + "".join(f"| {' | '.join(_cells(topic))} |\n" for topic in ALL) + FOOT


def _cells(topic: Topic) -> list[str]:
    name = f"`{topic.name}`"
    if topic.schema:
        name_and_version = topic.schema.replace("/", "-")
        record = f"[`{topic.schema}`](schemas/{name_and_version}.json): {topic.record}"
    else:
        record = topic.record
    cleanup = topic.cleanup.replace(",", ", ")
    people = [", ".join(names) for names in (topic.writers, topic.readers)]
    return [name, topic.key, str(topic.partitions), cleanup, _kept(topic), *people, record]


def _kept(topic: Topic) -> str:
    """How long records are kept; a topic that is only compacted keeps the last of each key, however old."""
    if topic.cleanup == "compact":
        return "last of each key"
    days = topic.retention_ms // (24 * HOUR_MS)
    return "1 day" if days == 1 else f"{days} days"


def schemas() -> dict[str, str]:
    """JSON Schema by file name, one per record type; the name includes the version."""
    by_name = {}
    for record in PUBLISHED:
        default = next(field.default for field in msgspec.structs.fields(record) if field.name == "schema")
        name = f"{str(default).replace('/', '-')}.json"
        schema = msgspec.json.schema(record)
        if issubclass(record, Signed):
            schema["$defs"][record.__name__]["properties"]["signature"] = {
                "type": "string",
                "pattern": f"^{SIGNATURE}$",
            }
        by_name[name] = json.dumps(schema, indent=2) + "\n"
    return by_name


def main() -> None:
    """Write topics.md, notices.md and the schemas."""
    PAGE.write_text(page(), encoding="utf-8")
    NOTICES_PAGE.write_text(notices_page(), encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    main()
