"""The examples of the documents are right: they load, and what they link to exists."""

import re
from pathlib import Path

import pytest

from app.config.inventory import load_pop
from app.config.settings import load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_files_for_an_own_network_load(tmp_path: Path) -> None:
    inventory, settings = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "operator" / "own-network.md").read_text(), re.DOTALL
    )
    (tmp_path / "ams1.toml").write_text(inventory)
    (tmp_path / "autopilot.toml").write_text(settings)
    deployment = load(tmp_path / "autopilot.toml", environ={})
    assert deployment.settings.mode == "dry-run"
    assert deployment.pops == {"ams1": load_pop(tmp_path / "ams1.toml")}
    assert "[budgets]\nmax_overrides = 20" in (ROOT / "docs" / "operator" / "own-network.md").read_text().replace(
        "\n   ", "\n"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:app|agents|tables|tests|deploy|docs)/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []
