"""`autopilot render collectors`: files beside each other, or a folder a PoP."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.config.collectors import BMP_ALLOWED, FLOWS_ALLOWED, PMBMPD_LINES
from tests.pops import INVENTORY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = INVENTORY.read_text()
    (tmp_path / "a.toml").write_text(text.replace('name = "rhv1000"', 'name = "a"', 1))
    (tmp_path / "b.toml").write_text(text.replace('name = "rhv1000"\nasn = 64512', 'name = "b"\nasn = 64513', 1))
    path = tmp_path / "autopilot.toml"
    path.write_text('pops = ["a.toml", "b.toml"]\n')
    return path


def render(config: Path, *options: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["render", "collectors", "--config", str(config), *map(str, options)])
    return result.exit_code, result.output


def test_each_pop_has_its_folder(config: Path, tmp_path: Path) -> None:
    code, printed = render(config, "--out", tmp_path / "out")
    assert code == 0
    files = [tmp_path / "out" / pop / name for pop in "ab" for name in (FLOWS_ALLOWED, BMP_ALLOWED, PMBMPD_LINES)]
    assert all(path.exists() and str(path) in printed for path in files)
    assert str(tmp_path / "out" / "a" / BMP_ALLOWED) in (tmp_path / "out" / "a" / PMBMPD_LINES).read_text()


def test_one_pop_needs_none(config: Path, tmp_path: Path) -> None:
    code, _ = render(config, "--pop", "b", "--out", tmp_path)
    assert code == 0
    assert "127.0.0.1" in (tmp_path / FLOWS_ALLOWED).read_text().splitlines()


def test_what_is_wrong_is_said(config: Path, tmp_path: Path) -> None:
    assert render(config, "--pop", "c")[0] == 2
    (tmp_path / "taken").write_text("")
    code, printed = render(config, "--pop", "a", "--out", tmp_path / "taken" / "in")
    assert code == 1
    assert "choose another --out" in printed
