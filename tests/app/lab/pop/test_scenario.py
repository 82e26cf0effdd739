"""The time line of demand, and the files that describe it."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from app.config.thresholds import Thresholds
from app.errors import ConfigError
from app.lab.pop.exits import per_link
from app.lab.pop.pop import FILL, SimPop, generate
from app.lab.pop.scenario import BUSIEST, FOLDER, Scenario, ScenarioEvent, Verdict, load_scenario, mistakes
from tests.app.lab.pop.world import IXP_1, PNI_1, inventory, natural_exits, surged_bps


@pytest.mark.parametrize(
    ("at_s", "intensity"),
    [(0, 0), (30, 0), (35, 0.5), (40, 1), (90, 1), (150, 1), (155, 0.5), (160, 0), (500, 0)],
)
def test_intensity(at_s: float, intensity: float) -> None:
    assert Scenario().intensity(at_s) == pytest.approx(intensity)


def test_the_top_of_the_surge_is_the_share_asked_for() -> None:
    surge = Scenario(peak_share=1.25, calm_s=5, ramp_s=1, surge_until_s=20)
    assert surge.multiplier(10, base_share=0.7) * 0.7 == pytest.approx(1.25)
    assert surge.multiplier(0, base_share=0.7) == 1
    assert surge.ends_s == 21


def test_without_a_peak_there_is_no_surge() -> None:
    assert {Scenario(peak_share=0).multiplier(at_s, base_share=0.7) for at_s in range(200)} == {1.0}


def test_the_default_is_the_file_named_surge_with_demand_that_obeys() -> None:
    told = Scenario(elastic_share=0.5, daily_share=0.05, day_s=240, event=(ScenarioEvent(at_s=90, kill=BUSIEST),))
    assert load_scenario("surge", inventory()) == told


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_every_file_loads_by_name_and_by_path(file: Path) -> None:
    assert load_scenario(file.stem, inventory()) == load_scenario(str(file), inventory())


DOCUMENT = FOLDER.parents[2] / "docs" / "operator" / "scenarios.md"


def test_every_default_is_told_as_it_is() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCUMENT.read_text(), re.MULTILINE))
    plain = [field for field in msgspec.structs.fields(Scenario) if field.name not in ("fill", "event")]
    read = {field.name: tomllib.loads(f"value = {told[field.name].strip('`')}")["value"] for field in plain}
    assert read == {field.name: field.default for field in plain}


def test_every_key_and_verdict_is_explained() -> None:
    text = DOCUMENT.read_text()
    keys = [field.name for kind in (Scenario, ScenarioEvent) for field in msgspec.structs.fields(kind)]
    assert [name for name in (*keys, *get_args(Verdict)) if f"`{name}`" not in text] == []


def test_an_unknown_scenario_names_the_known() -> None:
    with pytest.raises(ConfigError, match="known: bad-input, leak, link-failure, loop, no-room, surge"):
        load_scenario("storm", inventory())


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        """
        link = "r9/nowhere"
        ramp_s = 0
        elastic_share = 1.5
        daily_share = 1.0
        day_s = 0
        surge_until_s = 5
        seconds = 100
        look_s = 500
        [fill]
        "r9/nowhere" = 2.0
        [[event]]
        at_s = 900
        kill = "127.0.0.99"
        """
    )
    with pytest.raises(ConfigError) as raised:
        load_scenario(str(path), inventory())
    text = str(raised.value)
    for part in (
        "link r9",
        "ramp_s",
        "elastic_share",
        "daily_share",
        "day_s",
        "surge_until_s",
        "seconds",
        "look_s",
        "event[0].kill",
        "event[0].at_s",
    ):
        assert f"bad.toml: {part}" in text
    assert text.count("bad.toml: fill.r9/nowhere") == 2


def test_wrong_types_and_unknown_keys_are_listed_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('peak_share = "high"\nspeed = 9\n[[event]]\nkill = "busiest"\n')
    with pytest.raises(ConfigError) as raised:
        load_scenario(str(path), inventory())
    assert len(raised.value.problems) == 3
    assert "bad.toml.event[0].at_s: is missing; write a number, without quotes" in raised.value.problems


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ("at_s = 5", "event[0]: needs exactly one of kill, plant, inject, not none"),
        (
            'at_s = 5\nkill = "busiest"\ninject = "bad-records"',
            "event[0]: needs exactly one of kill, plant, inject, not kill and inject",
        ),
        ('at_s = 5\nplant = "loop"', "event[0].for_s: plant and forgeries need for_s, and nothing else takes it"),
        (
            'at_s = 5\nkill = "busiest"\nfor_s = 3',
            "event[0].for_s: plant and forgeries need for_s, and nothing else takes it",
        ),
        ('at_s = 5\nplant = "loop"\nfor_s = 0', "event[0].for_s: must be above 0 and end within the run"),
        (
            'at_s = 5\ninject = "bad-records"\n[[event]]\nat_s = 9\ninject = "bad-records"',
            "event: each inject is possible only once",
        ),
        ('at_s = 5\ninject = "forgeries"', "event[0].for_s: plant and forgeries need for_s, and nothing else takes it"),
        ('at_s = 230\nplant = "stray"\nfor_s = 20', "event[0].for_s: must be above 0 and end within the run"),
    ],
)
def test_an_event_is_exactly_one_thing(tmp_path: Path, event: str, problem: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f"[[event]]\n{event}\n")
    with pytest.raises(ConfigError) as raised:
        load_scenario(str(path), inventory())
    assert f"bad.toml: {problem}" in raised.value.problems


@pytest.mark.parametrize(
    ("verdict", "seconds", "enough"),
    [("surge", 219, False), ("no-room", 219, False), ("surge", 220, True), ("leak", 30, True), ("leak", 29, False)],
)
def test_only_what_must_be_taken_back_takes_long(verdict: Verdict, seconds: int, enough: bool) -> None:
    problems = list(mistakes(Scenario(verdict=verdict, seconds=seconds, look_s=5), inventory()))
    assert (problems == []) is enough


def test_a_length_asked_for_is_checked_as_the_one_of_the_file() -> None:
    assert load_scenario("surge", inventory(), seconds=230).seconds == 230
    with pytest.raises(ConfigError, match="seconds must be at least 220 for the verdict surge"):
        load_scenario("surge", inventory(), seconds=100)


def test_a_day_swings_all_demand_and_the_surge_reaches_its_share_all_the_same() -> None:
    day = Scenario(daily_share=0.4, day_s=400, calm_s=50, ramp_s=10, surge_until_s=300, peak_share=1.25)
    assert [day.daily(at_s) for at_s in (0, 100, 200, 300)] == pytest.approx([1, 1.4, 1, 0.6])
    assert day.multiplier(0, base_share=0.7) == 1
    for at_s in (100, 150, 300):
        assert 0.7 * day.daily(at_s) * day.multiplier(at_s, base_share=0.7) == pytest.approx(1.25)


THRESHOLDS = Thresholds()


def filled(name: str, seed: int) -> tuple[Scenario, SimPop]:
    scenario = load_scenario(name, inventory())
    return scenario, generate(inventory(), seed, fill={**FILL, **scenario.fill})


@pytest.mark.parametrize("seed", range(4))
def test_the_link_failure_overloads_a_link_and_leaves_room(seed: int) -> None:
    scenario, sim = filled("link-failure", seed)
    killed = scenario.event[0].kill
    assert killed is not None
    exits = natural_exits(seed, killed).link
    load = per_link(sim.demand_bps, exits, 6) / sim.capacity_bps
    assert sim.base_share.max() < THRESHOLDS.leave, "calm before"
    assert load[IXP_1] > 1.02
    assert load[PNI_1] == 0
    gbps = sim.capacity_bps / 1e9
    excess = ((load - THRESHOLDS.shed_to_saturated).clip(0) * gbps).sum()
    transit = [index for index, link in enumerate(sim.pop.link) if link.kind == "transit"]
    room = ((THRESHOLDS.fill_to - load) * gbps)[transit].sum()
    assert room > 1.5 * excess


@pytest.mark.parametrize("seed", range(4))
def test_without_room_all_links_together_cannot_take_the_surge(seed: int) -> None:
    scenario, sim = filled("no-room", seed)
    load = per_link(surged_bps(sim, scenario.peak_share), sim.home_link, 6) / sim.capacity_bps
    gbps = sim.capacity_bps / 1e9
    room = (THRESHOLDS.fill_to - load).clip(0) * gbps
    assert 0 < room.sum() < 0.7 * (load[PNI_1] - THRESHOLDS.shed_to_saturated) * gbps[PNI_1]
