"""`autopilot site add`: one line in one list, and one file."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.cli.site import with_entry, with_file
from app.config.settings import load
from app.errors import ConfigError
from tests.deploy.chart import inventory


def added(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["site", "add", *map(str, arguments)])


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    """The inventory of iad9 as somebody wrote it, somewhere."""
    path = tmp_path / "from-mail.toml"
    path.write_text(inventory("iad9"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('pops = ["a.toml"]\n', 'pops = ["a.toml", "b.toml"]\n'),
        ('pops = ["a.toml",]\n', 'pops = ["a.toml", "b.toml"]\n'),
        ("pops = []\n", 'pops = ["b.toml"]\n'),
        ('pops = [\n    "a.toml"\n]\n', 'pops = [\n    "a.toml",\n    "b.toml",\n]\n'),
        (
            'pops = [\n  "a.toml" # the [first]\n]\nmode = "auto"\n',
            'pops = [\n  "a.toml", # the [first]\n  "b.toml",\n]\nmode = "auto"\n',
        ),
        (
            'mode = "auto"\npops = ["a]b.toml"]\n\n[windows]\nlength_s = 10\n',
            'mode = "auto"\npops = ["a]b.toml", "b.toml"]\n',
        ),
    ],
)
def test_the_list_of_a_settings_file_gets_one_more_name(before: str, after: str) -> None:
    changed, others = with_file(before, "b.toml")
    settings = tomllib.loads(before)
    assert tomllib.loads(changed) == settings | {"pops": [*settings["pops"], "b.toml"]}
    assert others == settings["pops"]
    assert changed.startswith(after)


@pytest.mark.parametrize("text", ['pops = ["b.toml"]\n', "other = 1\n", '"pops" = ["a.toml"]\n'])
def test_a_settings_file_that_has_it_or_is_not_understood_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigError, match=r"pops: "):
        with_file(text, "b.toml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pops: []\n", "pops:\n  - name: b\n    mode: auto\n"),
        ("pops:\n- name: a\n\nview: {}\n", "pops:\n- name: a\n- name: b\n  mode: auto\n\nview: {}\n"),
        (
            "pops: # our sites\n  - name: a\n    cell: x # with c\n  - {name: c}\n# the rest\nview: {}\n",
            "pops: # our sites\n  - name: a\n    cell: x # with c\n  - {name: c}\n  - name: b\n    mode: auto\n"
            "# the rest\nview: {}\n",
        ),
        ("view: {}\npops:\n  - name: a", "view: {}\npops:\n  - name: a\n  - name: b\n    mode: auto\n"),
    ],
)
def test_the_list_of_the_values_gets_one_more_entry(before: str, after: str) -> None:
    changed, others = with_entry(before, "b", "auto")
    assert changed == after
    was = msgspec.yaml.decode(before)
    assert msgspec.yaml.decode(changed) == was | {"pops": [*was["pops"], {"name": "b", "mode": "auto"}]}
    assert others == [f"{entry['name']}.toml" for entry in was["pops"]]


@pytest.mark.parametrize("text", ["pops:\n  - name: b\n", "pops: [{name: a}]\n", "view: {}\n"])
def test_values_that_have_it_or_are_not_understood_are_left_alone(text: str) -> None:
    with pytest.raises(ConfigError, match=r"pops: "):
        with_entry(text, "b")


def test_a_pop_is_added_to_a_settings_file(tmp_path: Path, offered: Path) -> None:
    config = tmp_path / "autopilot.toml"
    (tmp_path / "iad1.toml").write_text(inventory("iad1"), encoding="utf-8")
    config.write_text('pops = ["iad1.toml"] # east\n', encoding="utf-8")
    result = added("iad9", "--inventory", offered, "--config", config)
    assert result.exit_code == 0, result.output
    assert list(load(config, {}).pops) == ["iad1", "iad9"]
    assert (tmp_path / "iad9.toml").read_text() == offered.read_text()


def test_a_pop_is_added_to_the_chart(tmp_path: Path, offered: Path) -> None:
    values, chart = tmp_path / "values.yaml", tmp_path / "chart"
    values.write_text("pops: []\n", encoding="utf-8")
    chart.mkdir()
    result = added("iad9", "--inventory", offered, "--values", values, "--chart", chart, "--mode", "observe")
    assert result.exit_code == 0, result.output
    assert msgspec.yaml.decode(values.read_bytes()) == {"pops": [{"name": "iad9", "mode": "observe"}]}
    assert (chart / "inventories" / "iad9.toml").read_text() == offered.read_text()


def test_without_the_chart_nothing_is_written(tmp_path: Path, offered: Path) -> None:
    values, chart = tmp_path / "values.yaml", tmp_path / "chart"
    values.write_text("pops: []\n", encoding="utf-8")
    result = added("iad9", "--inventory", offered, "--values", values, "--chart", chart)
    assert result.exit_code == 2
    assert "no such folder" in result.output
    assert (values.read_text(), chart.exists()) == ("pops: []\n", False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("asn = 64512", "asn = 0"), "asn"),
        (('"iad9"', '"iad8"'), "name"),
        (("10.9.1.", "10.1.1."), "agent_address"),
    ],
)
def test_nothing_is_written_if_the_inventory_is_wrong(
    tmp_path: Path, offered: Path, change: tuple[str, str], named: str
) -> None:
    config = tmp_path / "autopilot.toml"
    (tmp_path / "iad1.toml").write_text(inventory("iad1"), encoding="utf-8")
    config.write_text('pops = ["iad1.toml"]\n', encoding="utf-8")
    offered.write_text(offered.read_text().replace(*change), encoding="utf-8")
    result = added("iad9", "--inventory", offered, "--config", config)
    assert result.exit_code == 2, result.output
    assert named in result.output
    assert config.read_text() == 'pops = ["iad1.toml"]\n'
    assert not (tmp_path / "iad9.toml").exists()


def test_an_inventory_that_is_there_already_is_not_overwritten(tmp_path: Path, offered: Path) -> None:
    config, there = tmp_path / "autopilot.toml", tmp_path / "iad9.toml"
    config.write_text("pops = []\n", encoding="utf-8")
    there.write_text("name = 'mine'\n", encoding="utf-8")
    result = added("iad9", "--inventory", offered, "--config", config)
    assert result.exit_code == 2
    assert "differs from" in result.output
    assert there.read_text() == "name = 'mine'\n"
