"""Cases of terminals, locales and folders: a command ends as it should wherever it is run."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from tests.pops import INVENTORY

DATA = Path(__file__).parent / "data"


def autopilot(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "app", *arguments]
    return subprocess.run(argv, env=_environment(environment), capture_output=True, check=False, cwd=folder)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def deployment(folder: Path, more: str = "") -> Path:
    (folder / "rhv1000.toml").write_text(INVENTORY.read_text(), encoding="utf-8")
    path = folder / "autopilot.toml"
    path.write_text(f'pops = ["rhv1000.toml"]\n{more}', encoding="utf-8")
    return path


ENVIRONMENTS: list[dict[str, str]] = json.loads((DATA / "70-terminals-and-locales" / "input.json").read_text())
ODD: list[dict[str, str]] = [
    {"COLUMNS": "1"},
    {"COLUMNS": "0"},
    {"COLUMNS": "wide"},
    {"TERM": ""},
    {"LANG": "C", "LC_CTYPE": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONIOENCODING": "cp437"},
]
SIZE = ("size", "--pops", "3", "--records-per-second", "100")


@pytest.mark.parametrize(
    "environment", [*ENVIRONMENTS, *ODD], ids=lambda one: " ".join(f"{k}={v}" for k, v in one.items())
)
def test_case_70_terminals_and_locales(tmp_path: Path, environment: dict[str, str]) -> None:
    deployment(tmp_path)
    for arguments in (SIZE, ("check", "--offline")):
        done = autopilot(tmp_path, *arguments, **environment)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        assert b"\x1b" not in done.stdout
        assert done.stdout.strip()


@pytest.mark.parametrize("arguments", [SIZE, ("check", "--offline", "--dump")])
def test_case_70_a_reader_that_goes_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    deployment(tmp_path)
    pipe_out, pipe_in = os.pipe()
    os.close(pipe_out)
    try:
        argv = [sys.executable, "-m", "app", *arguments]
        done = subprocess.run(
            argv, env=_environment({}), stdout=pipe_in, stderr=subprocess.PIPE, check=False, cwd=tmp_path
        )
    finally:
        os.close(pipe_in)
    assert b"Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_the_locale_lacks_end_no_command(tmp_path: Path, encoding: str) -> None:
    """PEP 540: in the C locale Python's stdout is ASCII, and a letter beyond it is an error that ends the program."""
    settings = deployment(tmp_path, 'data_dir = "/proc/\u6771\u4eac"\n')
    done = autopilot(tmp_path, "check", "--offline", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(b"- data_dir: /proc/")
    done = autopilot(tmp_path, "check", "--offline", "--json", PYTHONIOENCODING=encoding)
    assert "\u6771\u4eac" in json.loads(done.stdout)["problems"][0], "JSON is UTF-8 whatever the locale"
    settings.write_text('pops = ["rhv1000.toml"]\nmode = "\u6771\u4eac"\n', encoding="utf-8")
    done = autopilot(tmp_path, "check", "--offline", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"autopilot.toml.mode: " in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made_is_named_before_and_at_the_start(tmp_path: Path) -> None:
    deployment(tmp_path, 'data_dir = "/proc/nope"\n')
    done = autopilot(tmp_path, "check", "--offline")
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(b"- data_dir: /proc/nope cannot be made in /proc: no such file or directory; choose")
    started = autopilot(tmp_path, "telemetry", "--cell", "rhv1000")
    assert started.returncode == 1
    last = msgspec.json.decode(started.stderr.splitlines()[-1])
    assert last["message"].startswith("data_dir: /proc/nope/")
    assert "Traceback" not in started.stderr.decode()
