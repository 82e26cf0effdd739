"""The published schemas are those of the types."""

from app.schemadocs import FOLDER, schemas


def test_every_published_record_has_its_schema_and_no_other() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert written == schemas(), "run: python -m app.schemadocs"


def test_a_schema_says_which_record_and_version_it_is() -> None:
    assert '"link-utilization/1"' in schemas()["link-utilization-1.json"]
