"""The truth's file may come late, is read as it grows, and never by half a line."""

from pathlib import Path

import pytest

from app.web.documents import TruthPoint
from app.web.truth import TruthLine, TruthReader


def test_lines_are_taken_when_they_are_complete(tmp_path: Path) -> None:
    path, taken = tmp_path / "truth.jsonl", list[TruthLine]()
    reader = TruthReader(path, taken.append)
    reader.read()
    line = b'{"pop":"a","links":{"a/r1/x":[10.0,5e9,0,6e9]}}\n'
    path.write_bytes(line + line[:20])
    reader.read()
    assert taken == [TruthLine("a", {"a/r1/x": TruthPoint(10.0, 5e9, 0, 6e9)})]
    with path.open("ab") as file:
        file.write(line[20:])
    reader.read()
    reader.read()
    assert len(taken) == 2


def test_a_line_that_cannot_be_read_is_logged_and_the_next_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, taken = tmp_path / "truth.jsonl", list[TruthLine]()
    path.write_bytes(b'nonsense\n{"pop":"a","links":{}}\n')
    TruthReader(path, taken.append).read()
    assert taken == [TruthLine("a", {})]
    assert "cannot be read" in caplog.text
