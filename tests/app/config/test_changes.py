"""What differs between two configurations is named key by key, and whether a running worker can take it over."""

from typing import Any

import msgspec
import pytest

from app.config.changes import RESTART, RESTART_OF_POP, Change, Process, changes, digest
from app.config.inventory import Link, Pop, Router, Session
from app.config.settings import Deployment, Settings
from app.config.thresholds import Pacing, Thresholds
from app.errors import ConfigError
from tests.pops import demo_pop

POP = demo_pop()
CELL = POP.name
NOW = Deployment(Settings(pops=("rhv1000.toml",)), {CELL: POP})
replace = msgspec.structs.replace


def with_settings(**values: Any) -> Deployment:
    return replace(NOW, settings=replace(NOW.settings, **values))


def with_pop(**values: Any) -> Deployment:
    return replace(NOW, pops={CELL: replace(POP, **values)})


def with_link(**values: Any) -> Deployment:
    return with_pop(link=(replace(POP.link[0], **values), *POP.link[1:]))


def found(after: Deployment, process: Process = "actuator") -> list[tuple[str, bool]]:
    return [(change.key, change.restart) for change in changes(NOW, after, CELL, process)]


def test_what_is_the_same_has_no_changes_and_one_hash_whatever_the_host() -> None:
    other_host = with_settings(data_dir="/elsewhere", state_port=7000, actuator_port=7001, view_port=7002)
    assert changes(NOW, NOW, CELL, "telemetry") == []
    assert digest(other_host, CELL) == digest(NOW, CELL)
    other_identity = with_settings(kafka=replace(NOW.settings.kafka, cert_file="/of/the/actuator", username="actuator"))
    assert digest(other_identity, CELL) == digest(NOW, CELL)
    assert digest(with_link(drain=True), CELL) != digest(NOW, CELL) != digest(with_settings(mode="auto"), CELL)


def test_modes_thresholds_budgets_and_links_are_taken_over() -> None:
    first = f"{CELL}.link[r1/{POP.link[0].name}]"
    session = POP.link[0].sessions[0]
    capped = replace(session, cap_bps=1e9)
    budgets = replace(POP.budgets, max_overrides=20)
    pairs = [
        (with_settings(mode="auto"), "mode"),
        (with_settings(thresholds=Thresholds(enter=0.95)), "thresholds.enter"),
        (with_settings(pacing=Pacing(min_stay_s=60)), "pacing.min_stay_s"),
        (with_settings(windows=replace(NOW.settings.windows, length_s=20)), "windows.length_s"),
        (with_pop(budgets=budgets), f"{CELL}.budgets.max_overrides"),
        (with_pop(pinned_prefixes=("203.0.113.0/24",)), f"{CELL}.pinned_prefixes"),
        (with_link(drain=True), f"{first}.drain"),
        (with_link(sessions=(capped, *POP.link[0].sessions[1:])), f"{first}.sessions[{session.peer}].cap_bps"),
        (with_pop(link=POP.link[1:]), first),
    ]
    for after, key in pairs:
        assert found(after) == found(after, "telemetry") == [(key, False)]


def test_what_is_made_at_the_start_needs_a_restart() -> None:
    kafka = replace(NOW.settings.kafka, broker="other:9092")
    assert found(with_settings(kafka=kafka)) == [("kafka.broker", True)]
    assert found(with_settings(pacing=Pacing(lease_s=200))) == [("pacing.lease_s", True)]
    assert found(with_pop(asn=64513)) == [(f"{CELL}.asn", True)]
    assert found(with_pop(router=POP.router[:1])) == [(f"{CELL}.router[r2]", True)]
    moved = replace(POP.router[0], injector=replace(POP.router[0].injector, grpc="unix:///run/other"))
    assert found(with_pop(router=(moved, *POP.router[1:]))) == [(f"{CELL}.router[r1].injector.grpc", True)]


def test_keys_of_another_process_concern_nobody() -> None:
    ports = with_settings(state_port=7000, actuator_port=7001, view_port=7002)
    assert (found(ports, "telemetry"), found(ports, "actuator")) == ([("state_port", True)], [("actuator_port", True)])


def test_a_pop_that_joins_or_leaves_the_cell_needs_a_restart() -> None:
    both = replace(NOW, pops={CELL: POP, "b": replace(POP, name="b")}, settings=replace(NOW.settings, cells={"c": ()}))
    before = replace(both, settings=replace(both.settings, cells={"c": (CELL,)}))
    after = replace(both, settings=replace(both.settings, cells={"c": (CELL, "b")}))
    assert changes(before, after, "c", "actuator") == [Change("cells.c", "none", "b", restart=True)]
    assert changes(after, before, "c", "actuator") == [Change("cells.c", "b", "none", restart=True)]
    elsewhere = replace(after, settings=replace(after.settings, cells={"d": ("b",), "c": (CELL,)}))
    assert changes(before, elsewhere, "c", "actuator") == []
    with pytest.raises(ConfigError, match="cell c: no PoP c"):
        changes(before, NOW, "c", "actuator")


def test_a_change_reads_as_old_and_new() -> None:
    [change] = changes(NOW, with_settings(mode="auto"), CELL, "actuator")
    assert str(change) == 'mode: "dry-run" -> "auto"'
    [change] = changes(NOW, with_pop(link=POP.link[1:]), CELL, "actuator")
    assert len(change.before) == 80
    assert change.after == "none"


@pytest.mark.parametrize("key", [*RESTART, *RESTART_OF_POP])
def test_every_key_that_needs_a_restart_exists(key: str) -> None:
    kinds: dict[str, Any] = {"router": Router, "link": Link, "sessions": Session}
    kind: Any = Settings if key in RESTART else Pop
    for name in key.removesuffix("[]").split("."):
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        assert name in fields
        kind = kinds.get(name) or fields[name].type
