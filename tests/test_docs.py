"""The examples of the documents are right: they load, and what they link to exists."""

import re
from pathlib import Path

import pytest

from app.config.inventory import load_pop
from app.config.settings import load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


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


def threats() -> list[list[str]]:
    """The rows of the threat model: asset, threat, from whom, answer, proof."""
    _, _, rest = (ROOT / "SECURITY.md").read_text().partition("## Threats")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_each_threat_is_answered_by_tests_that_exist() -> None:
    tests = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    rows = threats()
    assert len(rows) >= 14, "one for each row of the threat model"
    assert {len(row) for row in rows} == {5}
    for asset, *_, proof in rows:
        named = re.findall(r"`(test_\w+)`", proof)
        assert named, f"{asset}: no test, and nothing says why it is accepted"
        assert [name for name in named if name not in tests] == [], asset
