"""The folder of chaos points at pods of the chart, and its page has every row of `make faults`."""

import re

import pytest

from tests.deploy import chaos
from tests.deploy.chart import Item, items_of, template, values
from tests.deploy.tools import tools
from tests.faults.actuator.rows import ROUTE_FAULTS
from tests.faults.rows import FAULTS

PAGE = chaos.FOLDER / "README.md"


def rows() -> list[tuple[str, str]]:
    """The first two cells of each row of its tables."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [(first, second) for first, second, *_ in (line.split(" | ") for line in lines)]


def test_each_row_of_faults_has_a_manifest_or_a_reason() -> None:
    named = [name for first, _ in rows() for name in re.findall(r"`([^`]+)`", first)]
    assert sorted(named) == sorted(fault.name for fault in (*FAULTS, *ROUTE_FAULTS))


def test_each_manifest_is_of_some_row() -> None:
    named = {name for _, second in rows() for name in re.findall(r"`([\w-]+\.yaml)`", second)}
    assert named == {path.name for path in chaos.FOLDER.glob("*.yaml")}
    assert [f"{item.name}.yaml" for item in chaos.objects()] == sorted(named)


@pytest.fixture(scope="module")
def chart() -> list[Item]:
    """The objects of the PoP that they are for."""
    return template(tools().helms["helm4"], values(chaos.POP))


@pytest.mark.services
@pytest.mark.xdist_group("deploy")
@pytest.mark.parametrize(
    ("name", "before", "after", "named"),
    [
        ("telemetry-killed", "component: telemetry", "component: telemtry", "selects no pod"),
        ("telemetry-cut-off", "autopilot-brokers", "brokers", "selects no pod"),
        ("broker-silent", "cluster: autopilot", "cluster: kafka", "selects no pod"),
        ("gobgpd-killed", "iad9000-r1", "iad9000-r9", "gobgpd-iad9000-r9"),
        ("telemetry-disk-full", "volumePath: /var/lib/autopilot", "volumePath: /var/lib", "/var/lib, where nothing"),
        ("collector-killed", "namespaces: [egress]", "namespaces: []", "not for egress"),
    ],
)
def test_what_points_at_nothing_is_found(chart: list[Item], name: str, before: str, after: str, named: str) -> None:
    text = (chaos.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert before in text
    assert list(chaos.problems(list(items_of(text)), chart)) == []
    assert named in "".join(chaos.problems(list(items_of(text.replace(before, after))), chart))
