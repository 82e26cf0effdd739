"""The time line of demand, and the files that describe it."""

from pathlib import Path

import msgspec
import pytest

from app.errors import ConfigError
from app.sim.exits import per_link
from app.sim.pop import FILL, SimPop, generate
from app.sim.scenario import BUSIEST, FOLDER, Event, Scenario, load_scenario
from app.te.marks import Marks
from tests.app.sim.world import IXP_1, PNI_1, inventory, natural_exits, surged_bps


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


def test_the_default_is_the_file_named_surge() -> None:
    assert load_scenario("surge", inventory()) == Scenario(event=(Event(at_s=90, kill=BUSIEST),))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.toml")), ids=lambda file: file.stem)
def test_every_file_loads_by_name_and_by_path(file: Path) -> None:
    assert load_scenario(file.stem, inventory()) == load_scenario(str(file), inventory())


def test_every_key_is_explained_in_a_file() -> None:
    text = "".join(file.read_text() for file in FOLDER.glob("*.toml"))
    assert [field.name for field in msgspec.structs.fields(Scenario) if field.name not in text] == []


def test_an_unknown_scenario_names_the_known() -> None:
    with pytest.raises(ConfigError, match="known: link-failure, no-room, surge"):
        load_scenario("storm", inventory())


def test_every_mistake_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        """
        link = "r9/nowhere"
        ramp_s = 0
        elastic_share = 1.5
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
    path.write_text('peak_share = "high"\nspeed = 9\n[[event]]\nat_s = 5\n')
    with pytest.raises(ConfigError) as raised:
        load_scenario(str(path), inventory())
    assert len(raised.value.problems) == 3
    assert "bad.toml.event[0].kill: missing" in raised.value.problems


MARKS = Marks()


def filled(name: str, seed: int) -> tuple[Scenario, SimPop]:
    scenario = load_scenario(name, inventory())
    return scenario, generate(inventory(), seed, fill={**FILL, **scenario.fill})


@pytest.mark.parametrize("seed", range(4))
def test_the_link_failure_overloads_a_link_and_leaves_room(seed: int) -> None:
    scenario, sim = filled("link-failure", seed)
    exits = natural_exits(seed, scenario.event[0].kill).link
    load = per_link(sim.demand_bps, exits, 6) / sim.capacity_bps
    assert sim.base_share.max() < MARKS.leave, "calm before"
    assert load[IXP_1] > 1.02
    assert load[PNI_1] == 0
    gbps = sim.capacity_bps / 1e9
    excess = ((load - MARKS.shed_to_saturated).clip(0) * gbps).sum()
    transit = [index for index, link in enumerate(sim.pop.link) if link.kind == "transit"]
    room = ((MARKS.fill_to - load) * gbps)[transit].sum()
    assert room > 1.5 * excess


@pytest.mark.parametrize("seed", range(4))
def test_without_room_all_links_together_cannot_take_the_surge(seed: int) -> None:
    scenario, sim = filled("no-room", seed)
    load = per_link(surged_bps(sim, scenario.peak_share), sim.home_link, 6) / sim.capacity_bps
    gbps = sim.capacity_bps / 1e9
    room = (MARKS.fill_to - load).clip(0) * gbps
    assert 0 < room.sum() < 0.7 * (load[PNI_1] - MARKS.shed_to_saturated) * gbps[PNI_1]
