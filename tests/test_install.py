"""What `make install` and `make uninstall` do to the machine, also when they are killed at any of their steps.

The scripts run as they are, on a root directory of their own; apt and dpkg are replaced, so no package is touched.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

SCRIPTS = Path(__file__).parents[1] / "deploy" / "local"
PACKAGES = ("frr", "gobgpd")
OPERATORS = "#!/bin/sh\n# the operator's own\nexit 104\n"

# A package is a file with its status in $DPKG; one that is configured while nothing forbids it is in `started`.
STUBS = {
    "dpkg-query": """
        case "$*" in
        *Status-Abbrev*) grep -l config-files "$DPKG"/* 2>/dev/null | sed 's|.*/|rc |' ;;
        "-L "*) shift; for each; do echo "/lib/systemd/system/$each.service"; done ;;
        *) for last; do :; done; cat "$DPKG/$last" ;;
        esac""",
    "dpkg": """
        for package in "$DPKG"/*; do ! grep -q unpacked "$package" || configure "${package##*/}"; done""",
    "apt-get": """
        case "$*" in
        *autoremove*)
            marks=${2#Dir::State::extended_states=}
            for package in $(sort -u "$marks"); do [ ! -e "$DPKG/$package" ] || echo "Remv $package [1]"; done ;;
        *" install "*)
            if grep -q unpacked "$DPKG"/*; then echo 'dpkg was interrupted' >&2; exit 100; fi
            for package in $PACKAGES; do
                case " $* " in *" $package "*) echo 'install ok unpacked' >"$DPKG/$package" ;; esac
            done
            eval "$DURING_APT"
            for package in "$DPKG"/*; do ! grep -q unpacked "$package" || configure "${package##*/}"; done ;;
        *" remove "* | *" purge "*)
            echo "$*" | sed 's/.*Use-Pty=0 //' >>"$INSTALL_ROOT/apt"
            for package in $PACKAGES; do case " $* " in *" $package "*) rm -f "$DPKG/$package" ;; esac; done ;;
        esac""",
    "apt-mark": """
        marks=${2#Dir::State::extended_states=}
        shift 3
        printf '%s\\n' "$@" >>"$marks" """,
    "update-rc.d": ":",
    "systemctl": 'echo "$3" >>"$INSTALL_ROOT/disabled"',
    "sudo": '"$@"',
    "flock": 'echo "$PPID" >>"$INSTALL_ROOT/waiting"; exec /usr/bin/flock "$@"',
    "sh": 'exec bash "$@"',
}
CONFIGURE = """#!/bin/sh
configure() {
    rc=0
    if [ -e "$INSTALL_ROOT/usr/sbin/policy-rc.d" ]; then sh "$INSTALL_ROOT/usr/sbin/policy-rc.d" || rc=$?; fi
    [ $rc = 101 ] || echo "$1" >>"$INSTALL_ROOT/started"
    echo 'install ok installed' >"$DPKG/$1"
}
"""
# Bash runs this before each command of a script, of its functions and of its subshells. Those of a pipeline run side by
# side, so a step may be passed over, but none beyond is taken.
KILL = """
set -T
trap 'printf . >>"$STEPS"; read -r steps <"$STEPS" || :; [ ${#steps} -lt "$KILL_AT" ] || kill -9 0' DEBUG
"""


class Machine:
    """A root directory, a checkout with the scripts, and programs in place of Debian's."""

    def __init__(self, folder: Path, policy: str | None = None) -> None:
        self.root, self.checkout, self._bin = folder / "root", folder / "checkout", folder / "bin"
        self.policy = self.root / "usr/sbin/policy-rc.d"
        self.state = self.root / "var/lib/egress-autopilot"
        self._dpkg = self.root / "dpkg"
        self._steps = folder / "steps"
        for path in (self.policy.parent, self.root / "etc", self._dpkg, self._bin, self.scripts):
            path.mkdir(parents=True)
        (self.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        for name, text in STUBS.items():
            self._executable(self._bin / name, CONFIGURE + text)
        (folder / "kill.sh").write_text(KILL)
        for name in ("install.sh", "uninstall.sh"):
            shutil.copy(SCRIPTS / name, self.scripts)
        for name in ("kafka-jars.sh", "gobgp4.sh"):
            self._executable(self.scripts / name, "#!/bin/sh\n")
        wanted = (SCRIPTS / "packages.sh").read_text().splitlines()
        line = next(index for index, text in enumerate(wanted) if text.startswith("packages="))
        wanted[line] = f'packages="{" ".join(PACKAGES)}"'
        (self.scripts / "packages.sh").write_text("\n".join(wanted) + "\n")
        if policy is not None:
            self._executable(self.policy, policy)

    @property
    def scripts(self) -> Path:
        return self.checkout / "deploy" / "local"

    def _executable(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def has(self, package: str, status: str = "install ok installed") -> None:
        """This package is there already."""
        (self._dpkg / package).write_text(f"{status}\n")

    def environment(self, **more: str) -> Mapping[str, str]:
        """Of a script on this machine."""
        own = {"INSTALL_ROOT": self.root, "DPKG": self._dpkg, "STEPS": self._steps, "PACKAGES": " ".join(PACKAGES)}
        folders = {"PATH": f"{self._bin}:/usr/bin:/bin:/usr/sbin", "HOME": self.root, "TMPDIR": self.root}
        return {key: str(value) for key, value in (own | folders).items()} | {"DURING_APT": ":"} | more

    def run(self, script: str, *arguments: str, shell: str = "bash", kill_at: int | None = None) -> str | None:
        """What the script says; None if it was killed before this step."""
        more = {} if kill_at is None else {"KILL_AT": str(kill_at), "BASH_ENV": str(self._steps.parent / "kill.sh")}
        self._steps.write_text("")
        done = subprocess.run(
            [shell, self.scripts / script, *arguments],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            timeout=PATIENCE_S,
        )
        if done.returncode == -9:
            return None
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def installed(self) -> list[str]:
        return sorted(path.name for path in self._dpkg.iterdir() if path.read_text() == "install ok installed\n")

    def lines(self, name: str) -> list[str]:
        """Of a file in the root directory; none if it is not there."""
        path = self.root / name
        return path.read_text().splitlines() if path.exists() else []


def installed_cleanly(machine: Machine, policy: str | None) -> None:
    assert machine.installed == list(PACKAGES)
    assert machine.lines("started") == []
    assert set(machine.lines("disabled")) == {f"{package}.service" for package in PACKAGES}
    assert left_alone(machine, policy)
    assert {path.name for path in machine.state.iterdir()} >= {"installed", "users", "had-configuration"}
    assert not (machine.state / "unfinished").exists()


def left_alone(machine: Machine, policy: str | None) -> bool:
    """Whether policy-rc.d is as it was before, with nothing beside it."""
    if policy is None:
        return list(machine.policy.parent.iterdir()) == []
    same = machine.policy.read_text() == policy and machine.policy.stat().st_mode & 0o777 == 0o755
    return same and list(machine.policy.parent.iterdir()) == [machine.policy]


def operators_file_is_whole(machine: Machine) -> bool:
    return any(path.read_text() == OPERATORS for path in machine.policy.parent.iterdir())


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("policy", [None, OPERATORS], ids=["no policy", "the operator's policy"])
def test_daemons_are_installed_and_start_neither_now_nor_at_boot(
    tmp_path: Path, policy: str | None, shell: str
) -> None:
    machine = Machine(tmp_path, policy)
    machine.run("install.sh", shell=shell)
    installed_cleanly(machine, policy)


@pytest.mark.parametrize(("policy", "every"), [(None, 7), (OPERATORS, 1)], ids=["no policy", "the operator's policy"])
def test_the_run_after_one_that_was_killed_finishes_and_puts_everything_back(
    tmp_path: Path, policy: str | None, every: int
) -> None:
    for step in range(1, 1000, every):
        machine = Machine(tmp_path / str(step), policy)
        if machine.run("install.sh", kill_at=step) is not None:
            assert step > 30, "the script was not followed"
            return
        assert policy is None or operators_file_is_whole(machine), step
        machine.run("install.sh")
        installed_cleanly(machine, policy)
    raise AssertionError("it does not end")


def test_if_only_the_script_is_killed_the_next_run_waits_for_its_apt(tmp_path: Path) -> None:
    """Otherwise it would let daemons start that the first one's apt still configures."""
    machine = Machine(tmp_path, OPERATORS)
    orphan = 'kill -9 "$PPID"; until [ "$(wc -l <"$INSTALL_ROOT/waiting")" = 2 ]; do sleep 0.01; done'
    argv = ["bash", str(machine.scripts / "install.sh")]
    first = subprocess.run(
        argv, env=machine.environment(DURING_APT=orphan), capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert first.returncode != 0
    assert operators_file_is_whole(machine)
    machine.run("install.sh")
    installed_cleanly(machine, OPERATORS)


def test_what_the_operator_puts_there_meanwhile_stays(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "#!/bin/sh\n# before\n")
    written = f'printf \'%s\' "{OPERATORS}" >"$INSTALL_ROOT/new"; chmod 755 "$INSTALL_ROOT/new";'
    moved = 'mv "$INSTALL_ROOT/new" "$INSTALL_ROOT/usr/sbin/policy-rc.d"; kill -9 "$PPID"; exit 1'
    argv = ["bash", str(machine.scripts / "install.sh")]
    environment = machine.environment(DURING_APT=written + moved)
    subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=PATIENCE_S)
    machine.run("install.sh")
    assert left_alone(machine, OPERATORS)


def made(machine: Machine) -> list[Path]:
    """What `make` leaves in the checkout, in the user's cache, and in the folder of temporary files."""
    names = (".venv/bin/python", ".cache/kafka/libs/kafka.jar", "app/native/libnative.so")
    paths = [machine.checkout / name for name in names]
    paths += [machine.root / ".cache/egress-autopilot/gobgp4-0/gobgpd", machine.root / "autopilot-abc/ports.json"]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    return paths


def test_uninstall_removes_what_make_made_and_nothing_else(tmp_path: Path) -> None:
    machine = Machine(tmp_path, OPERATORS)
    machine.has("frr")
    machine.run("install.sh")
    paths = made(machine)
    others = [machine.root / "autopilot-of-another-program/file", machine.checkout / "app/native/scan.c"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    dry = machine.run("uninstall.sh", "--dry-run")
    assert dry is not None
    assert "would remove packages gobgpd" in dry
    assert f"would remove {machine.checkout}/.venv\n" in dry
    assert "stays: package frr, because it was there before" in dry
    assert all(path.exists() for path in (*paths, *others))
    assert machine.installed == list(PACKAGES)

    wet = machine.run("uninstall.sh", shell="dash")
    assert wet is not None
    assert wet.replace("removing ", "would remove ") == dry
    assert not any(path.exists() for path in paths)
    assert all(path.exists() for path in others)
    assert machine.installed == ["frr"]
    assert not machine.state.exists()
    assert left_alone(machine, OPERATORS)


def test_uninstall_after_an_installation_that_was_killed(tmp_path: Path) -> None:
    for step in range(1, 1000, 9):
        machine = Machine(tmp_path / str(step), OPERATORS)
        ended = machine.run("install.sh", kill_at=step) is not None
        if machine.state.exists():  # before that, nothing was done
            machine.run("uninstall.sh")
        assert machine.installed == [], step
        assert machine.lines("started") == [], step
        assert left_alone(machine, OPERATORS), step
        assert not machine.state.exists(), step
        if ended:
            return
    raise AssertionError("it does not end")


def test_uninstall_that_was_killed_goes_on(tmp_path: Path) -> None:
    for step in range(1, 1000, 9):
        machine = Machine(tmp_path / str(step))
        machine.run("install.sh")
        ended = machine.run("uninstall.sh", kill_at=step) is not None
        machine.run("uninstall.sh")
        assert machine.installed == [], step
        assert not machine.state.exists(), step
        if ended:
            return
    raise AssertionError("it does not end")


def test_configuration_that_was_there_before_is_not_purged(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.has("frr", "deinstall ok config-files")
    machine.run("install.sh")
    assert machine.lines("var/lib/egress-autopilot/had-configuration") == ["frr"]
    machine.run("uninstall.sh")
    assert machine.lines("apt")[-2:] == ["remove frr gobgpd", "purge gobgpd"]
