"""Root starts the demo, and from then on nothing of it is root's; wherever the checkout is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.lab.daemons.machine import CHECKOUT, DAEMON_USER
from app.lab.daemons.runner import setpriv
from app.lab.demo import ordinary_user

ENTER = "from app.lab.demo.ordinary_user import become; become(['--version'])"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


def closed_checkout(folder: Path) -> Path:
    """A checkout in a directory that only root may enter, as /root is."""
    project = folder / "closed" / "project"
    project.mkdir(parents=True)
    project.parent.chmod(0o700)
    for package in ("app", "agents", "tables"):
        shutil.copytree(CHECKOUT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    return project


def python(project: Path, program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def others_may_run(python: str) -> bool:
    """Not so if it is in the home of root."""
    argv = [*setpriv(DAEMON_USER), "sh", "-c", 'exec "$0" -c ""', python]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@as_root
def test_root_becomes_an_ordinary_user_who_finds_the_checkout(tmp_path: Path) -> None:
    if not others_may_run(sys.executable):
        pytest.skip(f"only root may run {sys.executable}")
    project = closed_checkout(tmp_path)
    (project / "app/__main__.py").write_text(
        "import os, sys\n"
        "import app, pwd\n"
        "status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())\n"
        "print(pwd.getpwuid(os.getuid()).pw_name, status['Groups'].strip() or '-', status['NoNewPrivs'])\n"
        "print(set(status['Uid'].split()), status['CapEff'].strip('0') or 'no capabilities')\n"
        "print(app.__file__, sys.argv[1:], os.environ['HOME'])\n"
    )
    said = python(project, ENTER)
    assert said.stdout.splitlines() == [
        "nobody - 1",
        "{'65534'} no capabilities",
        "/proc/self/cwd/app/__init__.py ['--version'] /nonexistent",
    ], said.stderr


@as_root
def test_a_checkout_that_others_may_not_read_is_said_with_what_to_do(tmp_path: Path) -> None:
    project = closed_checkout(tmp_path)
    project.chmod(0o700)
    said = python(project, ENTER)
    assert said.returncode != 0
    assert f"run as user nobody, who cannot use {project} or its Python" in said.stderr


def test_others_go_on_as_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ordinary_user.become(["demo"])  # does nothing, or there were no test any more


def test_files_of_the_checkout_are_found_where_the_process_works(tmp_path: Path) -> None:
    here = Path("/proc/self/cwd")
    assert ordinary_user.reached(CHECKOUT / "tests" / "soak.toml") == here / "tests" / "soak.toml"
    assert ordinary_user.reached(tmp_path / "my.toml") == tmp_path / "my.toml"
