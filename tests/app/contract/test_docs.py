"""The pages of topics and schemas are those of the tables, which know every record that we publish."""

import ast
from pathlib import Path
from typing import get_args

import msgspec

from app.contract import topics
from app.contract.docs import FOLDER, NOTICES_PAGE, PAGE, notices_page, page, schemas
from app.contract.notices import KINDS
from app.contract.schemas import PUBLISHED
from app.feeds.bmp_identity import AlarmKind

ROOT = Path(__file__).parents[3]


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


def kinds_made() -> set[str]:
    """Every kind of notice that the code makes: where one is built, and the kinds that come from elsewhere."""
    made = {*get_args(AlarmKind), "flows-silent", "late"}
    for path in (*(ROOT / "app").rglob("*.py"), *(ROOT / "agents").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Notice", "self._alarm"):
                made |= {first.value for first in node.args[:1] if isinstance(first, ast.Constant)}
            if isinstance(node, ast.match_case) and path.name == "flow_notices.py":
                made |= {one.value for one in ast.walk(node.pattern) if isinstance(one, ast.Constant)}
    return made


def test_every_kind_of_notice_is_in_the_table_and_on_the_page() -> None:
    assert kinds_made() == KINDS.keys()
    assert NOTICES_PAGE.read_text(encoding="utf-8") == notices_page(), "run: python -m app.contract.docs"
