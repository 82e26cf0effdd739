"""The log of a worker: every line of it one JSON object, whoever wrote it."""

import json
from pathlib import Path
from typing import Any

ALWAYS = {"at", "level", "logger", "message"}


def log_lines(path: Path) -> list[dict[str, Any]]:
    """All lines, of which none is anything else."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines
    assert [line for line in lines if not line.keys() >= ALWAYS] == []
    return lines
