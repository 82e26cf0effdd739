"""The halt file: what is no file, or cannot be looked at, halts too."""

from pathlib import Path
from typing import Any

import pytest

from app.actuation.halt_file import is_halted


def test_a_file_or_a_folder_of_that_name_halts_and_none_does_not(tmp_path: Path) -> None:
    assert not is_halted(tmp_path / "halt")
    assert not is_halted(tmp_path / "nowhere" / "halt")
    (tmp_path / "halt").touch()
    assert is_halted(tmp_path / "halt")
    assert is_halted(tmp_path)


def test_what_cannot_be_known_halts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort must neither fail nor say that all is well: a folder lost its permissions, a disk is broken."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for unknown in (tmp_path / "file" / "halt", tmp_path / "loop", tmp_path / ("x" * 300)):
        assert is_halted(unknown)

    def refuse(self: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert is_halted(tmp_path / "halt")
