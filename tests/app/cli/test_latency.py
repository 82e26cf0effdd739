"""`autopilot latency`: what people and programs get, with the topics faked."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from app.cli import latency
from app.cli.latency import begin_s
from app.config.settings import Kafka
from app.errors import ConfigError
from app.lab.daemons.ports import free_port
from tests.app.cli.test_latency_stages import ROUTES, STORY, T0
from tests.app.cli.test_main import deployment, run


class Record(NamedTuple):
    """What a consumer gives, as far as we look."""

    value: bytes
    timestamp: int
    topic: str = "decisions-rhv1000"
    key: bytes | None = b"rhv1000"


DECISIONS = [Record(msgspec.json.encode(one.decision), round(1000 * one.at_s)) for one in STORY]
TOPICS = {
    "decisions-rhv1000": DECISIONS,
    "actuations": [Record(msgspec.json.encode(one), round(1000 * one.at.timestamp())) for one in ROUTES],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A deployment whose topics are these."""

    async def read_topic(
        kafka: Kafka, topic: str, last: int | None = None, since_s: float | None = None
    ) -> list[Record]:
        assert since_s is not None
        return [one for one in TOPICS[topic] if one.timestamp >= 1000 * since_s]

    monkeypatch.setattr(latency, "read_topic", read_topic)
    return deployment(tmp_path)


def told(*arguments: str) -> Any:
    result = run("latency", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_every_stage_for_programs(config: str) -> None:
    rows = {row["stage"]: row for row in told("--pop", "rhv1000", "--since", "2026-11-01", "--config", config)}
    assert rows["decided to confirmed"] == {
        "pop": "rhv1000", "stage": "decided to confirmed", "count": 1, "p50_s": 2.625, "p99_s": None, "max_s": 2.625,
    }  # fmt: skip
    assert rows["closed to decided"]["count"] == len(DECISIONS)


def test_every_stage_for_people(config: str) -> None:
    result = run("latency", "--since", "2026-11-01T00:00", "--config", config)
    assert result.exit_code == 0
    assert (
        "Since 2026-11-01 00:00:00 UTC. p99 needs at least 100 values; below that, look at the maximum."
        in result.stdout
    )
    (line,) = [line for line in result.stdout.splitlines() if "onset to confirmed" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "rhv1000", "onset to confirmed", "1", "17.375", "-", "17.375",
    ]  # fmt: skip


def test_nothing_to_show_is_said(config: str) -> None:
    since = ("--since", "2100-01-01", "--config", config)
    assert "Nothing was decided or announced in that time" in run("latency", *since).stdout
    assert told(*since) == []


@pytest.mark.parametrize(
    ("last", "since", "begin"),
    [
        (None, None, T0 - 3600),
        ("90s", None, T0 - 90),
        ("15m", None, T0 - 900),
        ("2h", None, T0 - 7200),
        ("1d", None, T0 - 86400),
        ("999999d", None, 0),
        (None, "2026-11-21T07:30:00", 1_795_246_200),
        (None, "2026-11-21T07:30:00Z", 1_795_246_200),
        (None, "2026-11-21T08:30:00+01:00", 1_795_246_200),
        (None, "1901-01-01", 0),
    ],
)
def test_the_time_asked_for(last: str | None, since: str | None, begin: float) -> None:
    assert begin_s(last, since, T0) == begin


@pytest.mark.parametrize(("last", "since"), [("1", None), ("h", None), ("-1h", None), ("", None), (None, "yesterday")])
def test_what_is_no_time_is_said(last: str | None, since: str | None) -> None:
    with pytest.raises(ConfigError, match="must be a"):
        begin_s(last, since, T0)


def test_wrong_usage_is_exit_code_2(config: str) -> None:
    both = run("latency", "--last", "1h", "--since", "2026-11-01", "--config", config, "--json")
    assert (both.exit_code, json.loads(both.stdout)["error"]) == (2, "give --last or --since, not both")
    unknown = run("latency", "--pop", "ams9", "--config", config)
    assert unknown.exit_code == 2
    assert "no PoP ams9; known: rhv1000" in unknown.stderr


def test_without_a_broker_it_fails_and_says_what_to_check(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    result = run("latency", "--json", "--config", deployment(tmp_path, f'[kafka]\nbroker = "{nobody}"'))
    assert result.exit_code == 1
    assert nobody in json.loads(result.stdout)["error"]
