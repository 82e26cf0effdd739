"""JSON Schemas of every record we publish, made from the types: `python -m app.schemadocs` writes docs/schemas."""

import json
from pathlib import Path

import msgspec

from app.schemas import PUBLISHED

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def schemas() -> dict[str, str]:
    """File name -> JSON Schema, one a record type; the version is part of the name."""
    by_name = {}
    for record in PUBLISHED:
        default = next(field.default for field in msgspec.structs.fields(record) if field.name == "schema")
        name = f"{str(default).replace('/', '-')}.json"
        by_name[name] = json.dumps(msgspec.json.schema(record), indent=2) + "\n"
    return by_name


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / name).write_text(schema, encoding="utf-8")


if __name__ == "__main__":
    main()
