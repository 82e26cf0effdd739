"""`make canary`: the stream tests against the newest Faust, aiokafka, mode and RocksDB binding that pip finds.

We pin these four exactly, because app/private_names.py leans on them. So a fix of theirs cannot be taken by changing a
number, and what a new version breaks should be known before it is needed. They are installed over the lock into an
environment of their own. Exit code 0: the tests pass with them; 1: they do not; 2: they cannot be installed.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.sbom import LOCK, ROOT, locked

PACKAGES = ("faust-streaming", "aiokafka", "mode-streaming", "rocksdict")
FOLDER = ROOT / ".cache" / "canary-venv"
PYTHON = FOLDER / "bin" / "python"
TESTS = (
    "tests/app/test_private_names.py",
    *("tests/app/stream", "tests/app/kafka", "tests/tables", "tests/agents"),
    *(f"tests/integration/test_{name}.py" for name in ("exact_state", "incarnations", "state_reset")),
)
PASSED, FAILED, NOT_INSTALLED = 0, 1, 2


def install() -> bool:
    """Make the environment again: the lock, the newest of the four over it, and this checkout."""
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    commands: Sequence[Sequence[str | Path]] = (
        (sys.executable, "-m", "venv", "--clear", FOLDER),
        (*pip, "--require-hashes", *(f"-r{lock}" for lock in sorted(ROOT.glob("requirements*.lock")))),
        (*pip, "--upgrade", *PACKAGES),
        (*pip, "--no-deps", "--no-build-isolation", "-e", ROOT),
    )
    return all(_runs(command) for command in commands)


def _runs(command: Sequence[str | Path]) -> bool:
    """Run a command, with all that it prints on stderr; return whether it succeeded."""
    return not subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode


def installed() -> dict[str, str]:
    """The versions in the environment."""
    listed = subprocess.run([PYTHON, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", listed, re.MULTILINE))


def report(pinned: Mapping[str, str], found: Mapping[str, str], passed: bool) -> str:
    """The versions, and what follows."""
    lines = [f"{name:<18}{pinned[name]:<10} newest: {found[name]}" for name in PACKAGES]
    is_newer = any(found[name] != pinned[name] for name in PACKAGES)
    what = "the newest versions" if is_newer else "the versions that are pinned, which are the newest"
    verdict = f"passed with {what}" if passed else f"FAILED with {what}: see above what they break"
    return "\n".join([*lines, verdict, ""])


def main() -> int:
    """Install, test, report."""
    if not install():
        sys.stdout.write("not tested: the newest versions cannot be installed; pip says why above\n")
        return NOT_INSTALLED
    passed = _runs((PYTHON, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", *TESTS))
    pinned = {name: version for name, version in locked(LOCK.read_text()) if name in PACKAGES}
    sys.stdout.write(report(pinned, installed(), passed))
    return PASSED if passed else FAILED


if __name__ == "__main__":
    sys.exit(main())
