"""What of the chart is made from our own tables: `python -m tests.deploy.generated` writes it, a test compares it.

`files/kafka.json` has the topics and identities, with `<pop>` and `<cell>` where names go, and values.schema.json has
the settings that a chart's user may set.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from app.config.settings import Settings
from app.contract import topics
from app.contract.identities import identities

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "autopilot"
KAFKA, SCHEMA = CHART / "files" / "kafka.json", CHART / "values.schema.json"
POP, CELL = "<pop>", "<cell>"

# The chart sets these itself: paths and addresses in a pod, and what follows from other values.
OF_THE_CHART = {
    "": (
        "pops",
        "cells",
        "data_dir",
        "halt_file",
        "http",
        "gobgp",
        "state_port",
        "actuator_port",
        "view_port",
        "signing",
    ),
    "kafka": (
        "broker",
        "security",
        "ca_file",
        "cert_file",
        "key_file",
        "username",
        "password_file",
        "replication_factor",
        "standby_replicas",
    ),
}


def kafka_json() -> str:
    """The topics and identities of a PoP called `<pop>` in a cell called `<cell>`."""
    document = {
        "topics": [
            {"name": topic.name, "partitions": topic.partitions, "config": topic.config} for topic in topics.ALL
        ],
        "identities": [
            {
                "name": identity.name,
                "component": identity.component,
                "rights": [
                    {
                        "resource": right.resource,
                        "name": right.name,
                        "pattern": "prefix" if right.prefixed else "literal",
                        "operations": right.operations,
                    }
                    for right in identity.rights
                ],
            }
            for identity in identities({CELL: [POP]})
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def schema_json(written: str) -> str:
    """The schema of the values as it stands, with `settings` as they are now."""
    document = json.loads(written)
    document["properties"]["settings"] = settings_schema()
    return json.dumps(document, indent=2) + "\n"


def settings_schema() -> dict[str, Any]:
    """What may stand in `settings`: all of the settings file that the chart does not set."""
    document = msgspec.json.schema(Settings)
    schema: dict[str, Any] = _plain(document["$ref"], document["$defs"])
    for table, names in OF_THE_CHART.items():
        keys = schema["properties"][table]["properties"] if table else schema["properties"]
        for name in names:
            keys.pop(name, None)
    del schema["required"]
    return schema


def _plain(found: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, texts and defaults: those are in docs/reference/settings.md."""
    match found:
        case str():
            return _plain(definitions[found.rpartition("/")[2]], definitions)
        case {"$ref": name}:
            return _plain(name, definitions)
        case {"properties": keys}:
            plain = {name: _plain(key, definitions) for name, key in keys.items()}
            required = {"required": found["required"]} if found.get("required") else {}
            return {"type": "object", "additionalProperties": False, "properties": plain, **required}
        case dict():
            below = {"items", "additionalProperties"}
            kept = {key: value for key, value in found.items() if key not in ("default", "title", "description")}
            return {
                key: _plain(value, definitions)
                if key in below and isinstance(value, dict)
                else [_plain(each, definitions) for each in value]
                if key == "anyOf"
                else value
                for key, value in kept.items()
            }
    return found


def main() -> None:
    """Write both."""
    KAFKA.write_text(kafka_json(), encoding="utf-8")
    SCHEMA.write_text(schema_json(SCHEMA.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
