"""The page of the topics is that of the table, and the table knows every record that we publish."""

import msgspec

from app import topics
from app.schemas import PUBLISHED
from app.topicdocs import PAGE, page


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m app.topicdocs"


def test_every_published_record_has_its_topic() -> None:
    fields = (field for record in PUBLISHED for field in msgspec.structs.fields(record))
    published = {field.default for field in fields if field.name == "schema"}
    assert {topic.schema for topic in topics.ALL if topic.schema} == published


def test_every_schema_that_the_page_links_to_is_there() -> None:
    names = [topic.schema.replace("/", "-") for topic in topics.ALL if topic.schema]
    assert [name for name in names if not (PAGE.parent / "schemas" / f"{name}.json").is_file()] == []
    assert [name for name in names if f"(schemas/{name}.json)" not in page()] == []
