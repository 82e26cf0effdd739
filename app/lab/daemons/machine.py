"""What the local stack asks of the machine: binaries, ports, disk, and a directory that its daemons may write.

Everything is checked before anything starts, and all problems are told together.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

import msgspec

from app.errors import EnvironmentProblem
from app.lab.daemons.ports import StackPorts, choose_ports, port_problems
from app.lab.daemons.runner import setpriv

CHECKOUT = Path(__file__).parents[3]
TEMPLATES = CHECKOUT / "deploy" / "local"
KAFKA_JARS = CHECKOUT / ".cache" / "kafka" / "libs"

# Debian keeps daemons where an ordinary user's PATH does not look.
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/frr"))
PACKAGE_OF = {
    "java": "openjdk-17-jre-headless",
    "sfacctd": "pmacct",
    "pmbmpd": "pmacct",
    "gobgpd": "gobgpd",
    "gobgp": "gobgpd",
    "bgpd": "frr",
    "exabgp": "exabgp",
    "setpriv": "util-linux",
}
FREE_DISK_BYTES = 2_000_000_000
# sun_path holds 108 bytes with the closing zero; the longest socket name of ours is "/injector-r1.sock".
RUN_DIR_MAX_BYTES = 107 - len("/injector-r1.sock")
DAEMON_USER = "nobody"


class Site(msgspec.Struct, frozen=True):
    """Where one stack lives. `user` is whom its daemons drop to, None when we are an ordinary user already."""

    run_dir: Path
    ports: StackPorts
    user: str | None

    def path(self, name: str) -> Path:
        return self.run_dir / name

    def write(self, name: str, text: str) -> Path:
        """A file in the run directory that the daemons can read."""
        path = self.path(name)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    def make_directory(self, name: str) -> Path:
        """A directory that the daemons can write."""
        path = self.path(name)
        path.mkdir(exist_ok=True)
        if self.user:
            shutil.chown(path, self.user)
        return path


def fill(template: str, **values: object) -> str:
    """A file of deploy/local with its placeholders filled; KeyError names one without a value."""
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)


def binary(name: str) -> str:
    """Its path; EnvironmentProblem names the Debian package when it is missing."""
    if found := shutil.which(name, path=SEARCH_PATH):
        return found
    raise EnvironmentProblem(f"{name} is not installed; it is in Debian's package {PACKAGE_OF[name]}")


def make_run_dir(wanted: Path | None) -> Path:
    """The wanted directory, or a fresh temporary one with a short name.

    EnvironmentProblem where it holds anything: another run may live in it, and the daemons' user will own it.
    """
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="autopilot-"))
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise EnvironmentProblem(f"{wanted} is not an empty directory: name one that does not exist yet")
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


def open_site(run_dir: Path, bgp_addresses: Sequence[str] = (), ports: StackPorts | None = None) -> Site:
    """Check the machine and choose free ports unless given; EnvironmentProblem lists everything that is wrong."""
    user = DAEMON_USER if os.geteuid() == 0 else None
    if user:
        shutil.chown(run_dir, user)
    ports = ports or choose_ports(bgp_addresses)
    if problems := [*missing(), *port_problems(ports, bgp_addresses), *_directory(run_dir, user)]:
        raise EnvironmentProblem("the local stack cannot start:\n" + "\n".join(f"- {problem}" for problem in problems))
    site = Site(run_dir, ports, user)
    site.write("ports.json", msgspec.json.format(msgspec.json.encode(ports)).decode() + "\n")
    return site


def missing() -> Iterator[str]:
    """Every binary, template and jar that is not there, with what to do."""
    absent = [name for name in PACKAGE_OF if shutil.which(name, path=SEARCH_PATH) is None]
    yield from (f"{name} is not installed: apt package {PACKAGE_OF[name]} (or run make install)" for name in absent)
    if not TEMPLATES.is_dir():
        yield f"{TEMPLATES} is missing: the local stack runs from a checkout"
    elif not any(KAFKA_JARS.glob("kafka_*.jar")):
        yield f"Kafka's jars are not in {KAFKA_JARS}: run deploy/local/kafka-jars.sh"


def _directory(run_dir: Path, user: str | None) -> Iterator[str]:
    if (free := shutil.disk_usage(run_dir).free) < FREE_DISK_BYTES:
        yield f"{run_dir} has {free / 1e9:.1f} GB free, {FREE_DISK_BYTES / 1e9:.0f} GB are needed"
    if len(os.fsencode(run_dir)) > RUN_DIR_MAX_BYTES:
        yield f"{run_dir} is too long for a unix socket in it: at most {RUN_DIR_MAX_BYTES} bytes"
    if user and subprocess.run([*setpriv(user), "test", "-w", run_dir], check=False).returncode:
        yield f"user {user}, as whom the daemons run, cannot write in {run_dir}: choose a directory under /tmp"
