"""The units in deploy/systemd: systemd knows every line, little is left to a process, and none is forgotten."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from app.cli.main import main
from app.contract.topics import Component

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
COMMON = UNITS / "autopilot-.service.d" / "common.conf"
SERVICES = {path.name.removesuffix(".service").rstrip("@"): path for path in UNITS.glob("*.service")}
OURS = "/opt/autopilot/bin/autopilot"
EXPOSURE_MAX = 16  # tenths, of 100: most of it is the network
PEOPLE: set[Component] = {"operator", "consumer"}  # of the identities: they are no process


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as on a host where our command is installed."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder, symlinks=True)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace(OURS, str(Path(sys.prefix) / "bin" / "autopilot")))
    return folder


def analyze(what: str, folder: Path, *names: str) -> tuple[bool, str]:
    """Whether `systemd-analyze` finds the units good, and what it says of them."""
    files = [folder / name for name in names] or [*folder.glob("*.service"), *folder.glob("*.target")]
    done = subprocess.run(["systemd-analyze", *what.split(), *files], text=True, capture_output=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def plant(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.services
def test_systemd_knows_every_line(units: Path) -> None:
    assert analyze("verify --man=no --recursive-errors=no", units) == (True, "")


@pytest.mark.services
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("sfacctd@.service", "KillSignal=", "KilSignal=", "KilSignal"),
        ("autopilot-.service.d/common.conf", "ProtectSystem=strict", "ProtectSystem=strictly", "strictly"),
        ("gobgpd@.service", "ExecStartPre=rm", "ExecStartPre=rn", "rn is not executable"),
    ],
)
def test_what_systemd_does_not_know_is_found(units: Path, file: str, old: str, new: str, named: str) -> None:
    plant(units / file, old, new)
    assert named in analyze("verify --man=no --recursive-errors=no", units)[1]


@pytest.mark.services
@pytest.mark.parametrize("name", [path.name for path in SERVICES.values()])
def test_little_is_left_to_a_process(units: Path, name: str) -> None:
    judge = f"security --no-pager --offline=true --threshold={EXPOSURE_MAX}"
    good, said = analyze(judge, units, name)
    assert good, said
    plant(units / "autopilot-.service.d" / "common.conf", "CapabilityBoundingSet=\n", "")
    assert not analyze(judge, units, name)[0]


def lines(name: str, key: str) -> list[str]:
    """The values of a key in the unit of a service, in their order; those that all share are not among them."""
    return re.findall(rf"^{key}=(.*)$", SERVICES[name].read_text(), re.MULTILINE)


def started(name: str) -> list[str]:
    """The command line of a service."""
    return lines(name, "ExecStart")[0].split()


COMMANDS = [arguments for program, *arguments in map(started, SERVICES) if program == OURS]


def test_every_process_has_a_unit() -> None:
    roots = {
        process
        for path in (ROOT / "app").glob("*.py")
        for process in re.findall(r'\A"""Composition root of `autopilot ([\w-]+)`', path.read_text())
    }
    assert roots >= {"telemetry", "actuator", "view", "reaper"}
    assert {arguments[0] for arguments in COMMANDS} == roots
    others = {Path(started(name)[0]).name for name in SERVICES} - {"autopilot"}
    assert others == {"gobgpd", "sfacctd", "pmbmpd"}
    assert set(get_args(Component)) - PEOPLE <= roots | others, "a client of the broker without a unit"


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_our_command_knows_its_arguments(arguments: list[str]) -> None:
    known = [each for each in arguments if not each.startswith("$O")]
    done = CliRunner().invoke(main, [*known, "--help"])
    assert done.exit_code == 0, done.output


def test_a_reaper_can_end_its_gobgpd() -> None:
    gobgpd, reaper = started("gobgpd"), started("autopilot-reaper")
    assert gobgpd[gobgpd.index("--api-hosts") + 1] == reaper[reaper.index("--target") + 1]
    for key in ("User", "RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve"):
        assert lines("gobgpd", key) == lines("autopilot-reaper", key) != []
    assert "gobgpd@%i.service" in lines("autopilot-reaper", "PartOf")
    assert lines("gobgpd", "Upholds") == ["autopilot-reaper@%i.service"]


LONGER = {"After", "Wants", "PartOf", "RestrictAddressFamilies", "SystemCallFilter"}  # each line adds to a list


@pytest.mark.parametrize("name", SERVICES)
def test_no_unit_says_what_the_common_file_overrides(name: str) -> None:
    common = re.findall(r"^(\w+)=", COMMON.read_text(), re.MULTILINE)
    assert [key for key in common if key not in LONGER and lines(name, key)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_every_unit_has_the_common_file(name: str) -> None:
    """A running systemd, other than systemd-analyze, does not look into a folder that is a link; at a file it does."""
    folder = UNITS / f"{SERVICES[name].name}.d"
    assert name.startswith("autopilot-") or ((folder / COMMON.name).resolve() == COMMON and not folder.is_symlink())


def test_every_user_is_made() -> None:
    made = re.findall(r"^[ug] (\S+)", (UNITS / "sysusers.conf").read_text(), re.MULTILINE)
    used = {
        user
        for name in SERVICES
        for key in ("User", "SupplementaryGroups")
        for value in lines(name, key)
        for user in value.split()
    }
    assert sorted(used) == sorted(made)
