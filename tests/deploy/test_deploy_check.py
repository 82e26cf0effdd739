"""The Helm chart: `make deploy-check`, and that its checks find what they are for."""

import pytest

from tests.deploy.check import (
    run,
)
from tests.deploy.generated import KAFKA, SCHEMA, kafka_json, schema_json
from tests.deploy.tools import Tools, tools


@pytest.fixture(scope="module")
def made() -> Tools:
    return tools()


def test_what_is_made_from_our_tables_is_current() -> None:
    assert KAFKA.read_text(encoding="utf-8") == kafka_json(), "run python -m tests.deploy.generated"
    written = SCHEMA.read_text(encoding="utf-8")
    assert written == schema_json(written), "run python -m tests.deploy.generated"


def test_nothing_is_wrong_with_the_chart(made: Tools) -> None:
    report = run(made)
    assert report.problems == []
    assert report.typos_planted == report.typos_refused > 500
    assert set(report.kinds) >= {"StatefulSet", "KafkaTopic", "KafkaUser", "NetworkPolicy", "HTTPRoute", "Ingress"}
