"""What `make canary` says."""

from pathlib import Path

import pytest

from tests import canary
from tests.sbom import LOCK, ROOT, locked

PINNED = {name: version for name, version in locked(LOCK.read_text()) if name in canary.PACKAGES}


def test_what_is_tried_is_what_is_pinned_exactly() -> None:
    assert PINNED.keys() == {*canary.PACKAGES}
    project = (ROOT / "pyproject.toml").read_text()
    assert [name for name in canary.PACKAGES if f'"{name}=={PINNED[name]}"' not in project] == []


@pytest.mark.parametrize("path", canary.TESTS)
def test_its_tests_exist(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_verdict_names_the_versions() -> None:
    newer = PINNED | {"aiokafka": "9.9"}
    assert "passed with the versions that are pinned" in canary.report(PINNED, PINNED, passed=True)
    said = canary.report(PINNED, newer, passed=False)
    assert f"aiokafka          {PINNED['aiokafka']}" in said
    assert "newest: 9.9" in said
    assert "FAILED with the newest versions" in said


@pytest.mark.parametrize(
    ("installs", "passes", "code"),
    [(True, True, canary.PASSED), (True, False, canary.FAILED), (False, True, canary.NOT_INSTALLED)],
)
def test_the_exit_code(
    installs: bool, passes: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(canary, "_runs", lambda command: passes if "pytest" in command else installs)
    monkeypatch.setattr(canary, "installed", lambda: PINNED)
    assert canary.main() == code
    assert capsys.readouterr().out


def test_versions_are_those_of_an_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf 'aiokafka==9.9\\n-e git+there\\nrocksdict==1\\n'\n")
    python.chmod(0o755)
    monkeypatch.setattr(canary, "PYTHON", python)
    assert canary.installed() == {"aiokafka": "9.9", "rocksdict": "1"}
