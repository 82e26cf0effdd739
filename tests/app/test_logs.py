"""One JSON object a line, whatever is logged; what it is about in fields of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.logs import CAUSES_MAX, FIELDS, OFTEN, JsonFormatter, OncePerMinute
from tests.patience import PATIENCE_S


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("agents.decide", logging.WARNING, "close.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    document: dict[str, Any] = json.loads(text)
    return document


def test_a_line_says_when_how_bad_who_and_what() -> None:
    made = record("%s: congestion %s\nin two lines", "rhv1000/r1/et-0/0/1", "opened")
    document = line(made)
    assert datetime.fromisoformat(document.pop("at")) == datetime.fromtimestamp(made.created, UTC)
    assert document == {
        "level": "warning",
        "logger": "agents.decide",
        "message": "rhv1000/r1/et-0/0/1: congestion opened\nin two lines",
    }


def test_what_it_is_about_is_in_fields_of_its_own() -> None:
    about = dict(zip(FIELDS, ("rhv1000", "rhv1000/r1/x", "7.41", "r1", "203.0.113.0/24"), strict=True))
    document = line(record("moved", **about, other="not ours"))
    assert {name: document[name] for name in FIELDS} == about
    assert "other" not in document
    assert "link" not in line(record("moved", pop="rhv1000", link=None))


def test_an_exception_is_a_field() -> None:
    made = record("failed")
    try:
        raise ValueError("of some\nlines")
    except ValueError:
        made.exc_info = sys.exc_info()
    document = line(made)
    assert document["traceback"].startswith("Traceback")
    assert document["traceback"].endswith("ValueError: of some\nlines")


PROGRAM = """
import logging, warnings
from app import logs
logs.set_up({format!r})
logging.getLogger("aiokafka").error("group %s", "lost")
warnings.warn("old")
raise RuntimeError("nobody catches this")
"""


def stderr_of(log_format: str) -> list[str]:
    argv = [sys.executable, "-c", PROGRAM.format(format=log_format)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr.splitlines()


def test_libraries_warnings_and_what_nobody_catches_are_lines_of_json() -> None:
    documents = [json.loads(text) for text in stderr_of("json")]
    assert [one["logger"] for one in documents] == ["aiokafka", "py.warnings", "app.logs"]
    assert documents[0]["message"] == "group lost"
    assert documents[2]["level"] == "critical"
    assert "RuntimeError: nobody catches this" in documents[2]["traceback"]


def test_text_is_for_people() -> None:
    first = stderr_of("text")[0]
    assert first.endswith("ERROR aiokafka: group lost")
    with pytest.raises(ValueError, match=r"Extra data|Expecting"):
        json.loads(first)


def said(lines: Sequence[tuple[float, logging.LogRecord]]) -> list[str]:
    """The messages that pass, of these lines at these seconds."""
    now_s = [0.0]
    once = OncePerMinute(lambda: now_s[0])
    passed = []
    for now_s[0], made in lines:
        if once.filter(made):
            passed.append(made.getMessage())
    return passed


def of(name: str, message: str, *args: object, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    made = record(message, *args, **extra)
    made.name, made.levelno = name, level
    return made


def test_a_broker_that_is_away_is_said_once_a_minute_for_each_cause() -> None:
    """aiokafka and Faust logged 110 lines a second."""
    lines = []
    for number in range(130 * 55):
        lines += [
            (
                number / 55,
                of("aiokafka.client", "Unable connect to node with id %s: %s", number % 3, f"errno {number}"),
            ),
            (number / 55, of("faust.topics", f"_on_published error for message topic rib error late message {number}")),
        ]
    passed = said(lines)
    assert len(passed) == 6
    assert passed[2] == "Unable connect to node with id 0: errno 3300 (and 3299 times more since it was said)"


def test_who_sends_what_is_no_request_does_not_fill_the_log() -> None:
    lines = [
        (number / 100, of("aiohttp.server", "Error handling request from %s", f"192.0.2.{number}", level=logging.ERROR))
        for number in range(200)
    ]
    assert said(lines) == ["Error handling request from 192.0.2.0"]


def test_what_differs_is_said_at_once() -> None:
    coordinator = "aiokafka.consumer.group_coordinator"
    lines = [
        of(coordinator, "Heartbeat failed for group %s because it is rebalancing", "g"),
        of(coordinator, "Heartbeat failed: local member_id was not recognized"),
        of(coordinator, "Heartbeat failed: local member_id was not recognized", level=logging.ERROR),
        of("aiokafka.client", "Heartbeat failed: local member_id was not recognized"),
        of(coordinator, "Joined group '%s'", "g", level=logging.INFO),
        of(coordinator, "Joined group '%s'", "another", level=logging.INFO),
    ]
    assert len(said([(0.0, line) for line in lines])) == len(lines)


def test_our_own_lines_are_all_said_but_those_about_what_is_tried_again() -> None:
    moved = [(0.0, of("app.actuation.driver", "moved")) for _ in range(3)]
    tries = [
        (0.0, of("app.stream.outbox", "actuations: %s; %d records wait", reason, wait, **OFTEN))
        for wait, reason in enumerate(["no connection", "no connection", "no answer"])
    ]
    assert said(moved) == ["moved"] * 3
    assert said(tries) == ["actuations: no connection; 0 records wait", "actuations: no answer; 2 records wait"]


def test_causes_take_a_bounded_room() -> None:
    once = OncePerMinute(lambda: 0.0)
    for number in range(2 * CAUSES_MAX):
        once.filter(of("aiokafka.client", f"message {'x' * (number % 30)}{chr(0x4E00 + number)}"))
    assert len(once._said) <= CAUSES_MAX
