"""What is said of a mistake: one line, never a traceback, and what to write instead."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.config.settings import load
from app.errors import ConfigError
from tests.pops import INVENTORY


def deployment(folder: Path, *changes: tuple[str, str], settings: str = 'pops = ["pop.toml"]') -> Path:
    """A settings file of the demo's PoP, with these changes in the inventory."""
    text = INVENTORY.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / "pop.toml").write_text(text, encoding="utf-8")
    path = folder / "autopilot.toml"
    path.write_text(settings, encoding="utf-8")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return caught.value.problems


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("asn = 64512", f"asn = {'9' * 5000}", "pop.toml: line 4: a number has thousands of digits"),
        ("asn = 64512", f"asn = 0x{'f' * 5000}", "asn: 0xffffffffff"),
        ("ifindexes = [101]", f"ifindexes = [0x{'f' * 5000}]", "link[0].ifindexes[0]: 0xffffffffff"),
        ("capacity_bps = 100e9", f"capacity_bps = {'9' * 400}", "link[0].capacity_bps: 0x"),
        ('"127.0.0.31"', f'"{"1" * 6000}"', "is not an IP address"),
        ('"198.18.0.0/16"', f'"198.18.0.0/{"1" * 6000}"', "is not a prefix; write ADDRESS/LENGTH"),
    ],
    ids=["decimal", "hex", "hex in a list", "float", "address", "length"],
)
def test_no_number_is_too_long_to_be_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = deployment(tmp_path, (old, new))
    (problem,) = problems_of(path)
    assert said in problem
    assert len(problem) < 300
    result = CliRunner().invoke(main, ["check", "--offline", "--json", "--config", str(path)])
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert result.stdout.startswith("{")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("capacity_bps = 100e9", "capacity = 100e9", "link[0].capacity: unknown key; did you mean capacity_bps?"),
        ("local_pref = 300", "localpref = 300", "link[0].localpref: unknown key; did you mean local_pref?"),
        ("[[link]]", "[[links]]", "links: unknown key; did you mean link?"),
        ("local_pref = 300", "marker = 911", "link[0].marker: unknown key here; it belongs to the top of the file,"),
        ("asn = 64512", "asn = 64512\ncap_bps = 1e9", "cap_bps: unknown key here; it belongs to [[link.sessions]]"),
        ("asn = 64601", 'asn = "1.10"', "link[0].sessions[0].asn: '1.10' is text; write 65546, without quotes"),
        ("asn = 64601", "asn = 1.1", "asn: 1.1 is a number; write AS numbers in one piece: of X.Y that is"),
        ("asn = 64601", 'asn = "AS64601"', "'AS64601' is text; write 64601, without quotes"),
        ("capacity_bps = 100e9", 'capacity_bps = "10G"', "'10G' is text; write 10e9, without quotes, or 'auto'"),
        ("capacity_bps = 100e9", 'capacity_bps = "2.5 Gbit/s"', "write 2.5e9, without quotes, or 'auto'"),
        ('"127.0.0.31"', '"198.51.100.129:179"', "is not an IP address; write '198.51.100.129'"),
        ('"127.0.0.31"', '"[2001:DB8::1]:179"', "is not an IP address; write '2001:db8::1'"),
        ('"127.0.0.31"', '"::ffff:192.0.2.1/128"', "is not an IP address; write '192.0.2.1'"),
        ("cost = 0.0", "cost = 2024-01-01", "link[0].cost: 2024-01-01 is a date or time; write a number"),
        ("cost = 0.0", "cost = 2024-01-01T01:02:03Z", "cost: 2024-01-01T01:02:03+00:00 is a date or time"),
        ("cost = 0.0", "cost = 0.0\n\"a\\u001b[31m\\nb\" = 1", "link[0].a\\x1b[31m\\nb: unknown key; known: name,"),
        ("core = { r2 = 2 }", "core = { r2 = 2, }", "inside { } there is no line break, and no comma after the last"),
        ("core = { r2 = 2 }", "core = { r2 = 2\n}", "inside { } there is no line break, and no comma after the last"),
        ("cost = 0.0", "cost = 2024-02-31", "there is no such date or time"),
    ],
)  # fmt: skip
def test_what_to_write_instead_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    problems = problems_of(deployment(tmp_path, (old, new)))
    assert [problem for problem in problems if said in problem], problems
    assert all(problem.isprintable() for problem in problems)


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = deployment(tmp_path, settings='pops = ["a/pop.toml", "b/pop.toml"]')
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pop.toml").write_text(INVENTORY.read_text().replace("asn = 64512", f"asn = -{ord(name)}"))
    problems = problems_of(path)
    assert any(problem.startswith("a/pop.toml.asn: -97 is not an AS number") for problem in problems)
    assert any(problem.startswith("b/pop.toml.asn: -98 is not an AS number") for problem in problems)


@pytest.mark.parametrize("other", ["./pop.toml", "x/../pop.toml", "{folder}/pop.toml"])
def test_one_file_in_two_spellings_is_one_mistake(tmp_path: Path, other: str) -> None:
    name = other.format(folder=tmp_path)
    (tmp_path / "x").mkdir()
    said = problems_of(deployment(tmp_path, settings=f'pops = ["pop.toml", "{name}"]'))
    assert said == [f"autopilot.toml.pops[1]: {name!r} is the same file as 'pop.toml' in pops[0]; leave one out"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data_dir": "/proc/nope"}, "data_dir: /proc/nope cannot be made in /proc"),
        ({"halt_file": "."}, "is a folder, so this host would stay halted; write the name of a file"),
    ],
)
def test_folders_that_cannot_be_are_in_the_first_round(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    lines = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    problems = problems_of(deployment(tmp_path, settings=f'pops = ["pop.toml"]\nmode = "yolo"\n{lines}'))
    assert len(problems) == 2
    assert "autopilot.toml.mode: 'yolo' is not one of" in problems[0]
    assert said in problems[1]
