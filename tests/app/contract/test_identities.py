"""Who may do what follows from the table of topics, and from which PoPs are in which cell."""

from typing import Any

import pytest

from app.config.settings import Deployment, Settings
from app.contract import topics
from app.contract.identities import KafkaIdentity, Right, identities
from tables.congestion import open_congestion
from tables.interfaces import open_interfaces
from tables.link_windows import open_link_windows
from tables.rib import open_rib
from tests.pops import demo_pop

# A cell whose name begins with that of another: a pattern by prefix would let the first into the second's state.
CELLS = {"ams1": ["ams1"], "ams1-b": ["fra1", "lon1"]}


def who_may(operation: str, name: str, resource: str = "topic") -> set[str]:
    found = set()
    for identity in identities(CELLS):
        for right in identity.rights:
            fits = name.startswith(right.name) if right.prefixed else name == right.name
            if right.resource == resource and fits and operation in right.operations:
                found.add(identity.name.removeprefix("autopilot-"))
    return found


@pytest.mark.parametrize(
    ("topic", "writers", "readers"),
    [
        ("sfacctd-flows-ams1", {"sfacctd-ams1"}, {"telemetry-ams1", "operator"}),
        ("sfacctd-counters-fra1", {"sfacctd-fra1"}, {"telemetry-ams1-b", "operator"}),
        ("bmp-lon1", {"pmbmpd-lon1"}, {"telemetry-ams1-b", "actuator-ams1-b", "operator"}),
        ("decisions-ams1", {"telemetry-ams1"}, {"actuator-ams1", "view", "operator", "consumer"}),
        ("decisions-fra1", {"telemetry-ams1-b"}, {"actuator-ams1-b", "view", "operator", "consumer"}),
        ("sources", {"telemetry-ams1", "telemetry-ams1-b"}, {"view", "operator", "consumer"}),
        ("actuations", {"actuator-ams1", "actuator-ams1-b"}, {"view", "operator", "consumer"}),
        ("actuator-status", {"actuator-ams1", "actuator-ams1-b"}, {"view", "operator", "consumer"}),
        ("control", {"operator"}, {"actuator-ams1", "actuator-ams1-b", "view", "operator"}),
        ("autopilot-telemetry-ams1-rib-changelog", {"telemetry-ams1"}, {"telemetry-ams1"}),
        ("autopilot-telemetry-ams1-b-rib-changelog", {"telemetry-ams1-b"}, {"telemetry-ams1-b"}),
        ("autopilot-actuator-ams1-b-rib-changelog", {"actuator-ams1-b"}, {"actuator-ams1-b"}),
    ],
)
def test_who_writes_and_who_reads(topic: str, writers: set[str], readers: set[str]) -> None:
    assert who_may("Write", topic) == writers
    assert who_may("Read", topic) == readers


def test_a_group_belongs_to_its_worker() -> None:
    assert who_may("Read", "autopilot-telemetry-ams1", "group") == {"telemetry-ams1"}
    assert who_may("Read", "autopilot-telemetry-ams1-b", "group") == {"telemetry-ams1-b"}
    assert who_may("Read", "autopilot-consumer-of-mine", "group") == {"consumer"}


def test_only_a_consumer_has_rights_by_the_beginning_of_a_name() -> None:
    prefixed = [right for identity in identities(CELLS) for right in identity.rights if right.prefixed]
    assert prefixed == [Right("group", "autopilot-consumer", ("Read",), True)]


def test_nobody_may_delete_or_create_what_another_needs() -> None:
    for name in topics.named(["ams1", "fra1", "lon1"]):
        assert who_may("Delete", name) == set()
        assert who_may("Create", name) == {"operator"}


def test_a_pop_that_is_added_changes_no_other_identity_of_a_cell() -> None:
    def of_workers(cells: dict[str, list[str]]) -> set[KafkaIdentity]:
        return {one for one in identities(cells) if one.component not in ("view", "operator", "consumer")}

    assert of_workers(CELLS) < of_workers({**CELLS, "zrh1": ["zrh1"]})


def test_the_tables_of_the_workers_are_those_that_have_changelogs() -> None:
    opened: list[str] = []

    def open_table(name: str) -> Any:
        opened.append(name)
        return {}

    for each in (open_congestion, open_interfaces, open_link_windows, open_rib):
        each(open_table)
    assert tuple(opened) == topics.TABLES["telemetry"]


def test_the_cells_of_a_deployment_have_each_pop_once() -> None:
    pops = {name: demo_pop() for name in ("a", "b", "c")}
    assert Deployment(Settings(pops=(), cells={"both": ("c", "a")}), pops).cells == {"both": ["a", "c"], "b": ["b"]}
