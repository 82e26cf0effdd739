"""The pages of topics and schemas are those of the tables, which know every record that we publish."""

import msgspec

from app.contract import topics
from app.contract.docs import FOLDER, PAGE, page, schemas
from app.contract.schemas import PUBLISHED


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m app.contract.docs"


def test_every_published_record_has_its_topic() -> None:
    fields = (field for record in PUBLISHED for field in msgspec.structs.fields(record))
    published = {field.default for field in fields if field.name == "schema"}
    assert {topic.schema for topic in topics.ALL if topic.schema} == published


def test_every_schema_that_the_page_links_to_is_there() -> None:
    names = [topic.schema.replace("/", "-") for topic in topics.ALL if topic.schema]
    assert [name for name in names if not (PAGE.parent / "schemas" / f"{name}.json").is_file()] == []
    assert [name for name in names if f"(schemas/{name}.json)" not in page()] == []


def test_every_published_record_has_its_schema_and_no_other() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert written == schemas(), "run: python -m app.contract.docs"


def test_a_schema_says_which_record_and_version_it_is() -> None:
    assert '"link-utilization/1"' in schemas()["link-utilization-1.json"]
