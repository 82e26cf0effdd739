"""What is downloaded is known by hash: the locks of Python's packages agree with pyproject.toml; jars have lists."""

import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME, BUILD, DEVELOPMENT = "requirements.lock", "requirements-build.lock", "requirements-dev.lock"
GROUPS = PROJECT["optional-dependencies"]
DECLARED = {
    RUNTIME: PROJECT["dependencies"],
    BUILD: GROUPS["build"],
    DEVELOPMENT: [*PROJECT["dependencies"], *GROUPS["build"], *GROUPS["dev"]],
}
BENCHMARK = "tests/bench/requirements.lock"
PIN = re.compile(r"(?P<pin>[a-z0-9-]+==[^ ]+(?: ; [^\\]+)?)(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")


def entries(lock: str) -> dict[str, str]:
    """By pin, the whole entry of each package in this lock; ValueError if any of its text is no pin with hashes."""
    text = (ROOT / lock).read_text()
    found = {match["pin"]: match[0] for match in PIN.finditer(text)}
    if rest := PIN.sub("", text).strip():
        raise ValueError(f"{lock}: neither pinned nor with hashes: {rest}")
    return found


def pinned(lock: str) -> dict[str, Version]:
    """The version of each package that this lock has for this Python."""
    wanted = [Requirement(pin) for pin in entries(lock)]
    return {each.name: _version(each) for each in wanted if each.marker is None or each.marker.evaluate()}


def _version(pin: Requirement) -> Version:
    (one,) = pin.specifier
    return Version(one.version)


def needed(declared: Iterable[str]) -> set[str]:
    """The packages that these requirements bring, with what they need in turn, as the installed ones say."""
    names: set[str] = set()
    waiting = [Requirement(each) for each in declared]
    while waiting:
        each = waiting.pop()
        name = canonicalize_name(each.name)
        if name not in names:
            names.add(name)
            waiting += _own(name, each.extras)
    return names


def _own(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """What this installed package needs on this machine."""
    for each in map(Requirement, requires(name) or ()):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield each


@pytest.mark.parametrize("lock", [*DECLARED, BENCHMARK])
def test_each_package_is_pinned_with_hashes(lock: str) -> None:
    assert entries(lock)


@pytest.mark.parametrize("lock", DECLARED)
def test_a_lock_has_what_pyproject_declares(lock: str) -> None:
    has = pinned(lock)
    for each in map(Requirement, DECLARED[lock]):
        assert has[canonicalize_name(each.name)] in each.specifier, each


@pytest.mark.parametrize("lock", DECLARED)
def test_a_lock_has_nothing_else(lock: str) -> None:
    """What a deployment installs has no tool of ours, and what is no longer needed goes."""
    assert set(pinned(lock)) == needed(DECLARED[lock])


def test_all_locks_have_the_same_of_what_they_share() -> None:
    development = entries(DEVELOPMENT)
    assert entries(RUNTIME).items() <= development.items()
    assert entries(BUILD).items() <= development.items()


def test_pip_downloads_only_wheels_that_a_lock_knows() -> None:
    """A source archive would be built by tools that pip downloads meanwhile, and no lock has those."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    scripts = [name for name in tracked if name.endswith((".sh", ".md")) or name in ("Makefile", ".ci/run")]
    in_python = [name for name in tracked if name.endswith(".py") and name != "tests/test_locks.py"]
    for name in in_python:
        for call in re.findall(r'"pip", "install"[^)]*', (ROOT / name).read_text()):
            assert "--only-binary=:all:" in call, f"{name}: {call}"
    calls = [
        line.strip()
        for name in scripts
        for line in (ROOT / name).read_text().splitlines()
        if re.search(r"\bpip[^a-z]+install|\$\((PIP|LOCKED)\)", line) and not line.startswith(("PIP", "LOCKED"))
    ]
    assert len(calls) >= 6
    for call in calls:
        if call.endswith(" ."):
            assert "--no-deps --no-build-isolation" in call
        else:
            assert "$(LOCKED)" in call or {"--require-hashes", "--only-binary=:all:"} <= set(call.split()), call
    assert "\nLOCKED := $(PIP) --require-hashes --only-binary=:all:\n" in (ROOT / "Makefile").read_text()


def check_jars(folder: Path, listed: Path) -> tuple[int, str]:
    script = ROOT / "deploy" / "local" / "check-jars.sh"
    done = subprocess.run([script, folder, listed], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_jars_are_those_of_the_list_byte_by_byte(tmp_path: Path) -> None:
    libs, listed = tmp_path / "libs", tmp_path / "list"
    libs.mkdir()
    for name in ("a-1.jar", "B-2.jar"):
        (libs / name).write_text(name)
    jars = sorted(libs.iterdir())
    listed.write_text("".join(f"{sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars))
    assert check_jars(libs, listed) == (0, "")
    (libs / "a-1.jar").write_text("A-1.jar")
    code, said = check_jars(libs, listed)
    assert code
    assert "a-1.jar: FAILED" in said
    (libs / "a-1.jar").write_text("a-1.jar")
    (libs / "c-3.jar").touch()
    assert check_jars(libs, listed)[0], "one too many"
    for jar in ("a-1.jar", "c-3.jar"):
        (libs / jar).unlink()
    assert check_jars(libs, listed)[0], "one too few"


def test_maven_is_strict_and_its_jars_are_checked() -> None:
    every = (*ROOT.glob("deploy/**/*.sh"), *ROOT.glob("tests/**/*.sh"))
    scripts = [path for path in every if "mvn " in path.read_text()]
    assert {path.name for path in scripts} == {"kafka-jars.sh", "build.sh"}
    for path in scripts:
        text = path.read_text()
        assert re.search(r"\bmvn .*-C\b", text), path
        assert text.index("mvn ") < text.rindex("check-jars.sh"), path
