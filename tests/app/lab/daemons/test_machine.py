"""What the machine lacks is told all at once, before anything starts."""

import os
from pathlib import Path

import msgspec
import pytest

from app.errors import EnvironmentProblem
from app.lab.daemons import machine
from app.lab.daemons.machine import Site, binary, make_run_dir, open_site
from app.lab.daemons.ports import choose_ports


def test_every_problem_is_listed_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SEARCH_PATH", "/nowhere")
    monkeypatch.setattr(machine, "KAFKA_JARS", tmp_path)
    monkeypatch.setattr(machine, "FREE_DISK_BYTES", 1 << 62)
    run_dir = tmp_path / ("long" * 25)
    run_dir.mkdir()
    with pytest.raises(EnvironmentProblem) as problem:
        open_site(run_dir)
    lines = str(problem.value).splitlines()
    assert "- bgpd is not installed: install the package frr, or run `make install`" in lines
    assert len([line for line in lines if "is not installed" in line]) == len(machine.PACKAGE_OF)
    for word in ("Kafka's jars are not in", "GB free", "too long a path for the unix sockets"):
        assert any(word in line for line in lines), word


def test_a_missing_binary_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SEARCH_PATH", "/nowhere")
    with pytest.raises(EnvironmentProblem, match="pmbmpd is not installed; install the Debian package pmacct"):
        binary("pmbmpd")


def test_ports_are_written_down_and_the_directory_is_the_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing", lambda: iter(()))
    run_dir = make_run_dir(None)
    ports = choose_ports()
    site = open_site(run_dir, ports=ports)
    assert msgspec.json.decode((run_dir / "ports.json").read_bytes()) == msgspec.structs.asdict(ports)
    directory = site.make_directory("r2")
    owners = {path.owner() for path in (run_dir, directory)}
    assert owners == {"nobody" if os.geteuid() == 0 else run_dir.owner()}
    assert run_dir.stat().st_mode & 0o777 == 0o700
    directory.rmdir()
    (run_dir / "ports.json").unlink()
    run_dir.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_a_directory_that_the_daemons_cannot_enter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing", lambda: iter(()))
    closed = tmp_path / "closed"
    run_dir = closed / "run"
    run_dir.mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(EnvironmentProblem, match="the daemons run as user nobody, who cannot write to"):
        open_site(run_dir)


def test_a_directory_that_holds_anything_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(EnvironmentProblem, match="not an empty directory"):
        make_run_dir(tmp_path)
    assert tmp_path.stat().st_uid == os.getuid()


def test_a_new_or_an_empty_directory_is_taken(tmp_path: Path) -> None:
    assert make_run_dir(tmp_path) == tmp_path
    assert make_run_dir(tmp_path / "new" / "one").is_dir()
    assert (tmp_path / "new" / "one").stat().st_mode & 0o777 == tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_an_empty_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Its owner could put links into it."""
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(EnvironmentProblem, match="not an empty directory of root"):
        make_run_dir(tmp_path)


def test_no_link_leads_what_is_written_elsewhere(tmp_path: Path) -> None:
    site = Site(tmp_path, choose_ports(), None)
    assert site.write("kafka.properties", "longer than before").read_text() == "longer than before"
    assert site.write("kafka.properties", "again").read_text() == "again"
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "r1.toml").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic link"):
        site.write("r1.toml", "ours")
    assert (tmp_path / "target").read_text() == "theirs"
