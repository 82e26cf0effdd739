"""What the local stack needs from the machine: binaries, ports, disk and a directory that its daemons can write to.

Everything is checked before anything starts, and all problems are reported together.
"""

import os
import pwd
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

# Debian installs daemons outside an ordinary user's PATH.
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
# sun_path holds 108 bytes including the final zero; our longest socket name is "/injector-r1.sock".
RUN_DIR_MAX_BYTES = 107 - len("/injector-r1.sock")
DAEMON_USER = "nobody"
HERE = "127.0.0.1"


class Site(msgspec.Struct, frozen=True):
    """Directory, ports and user of one stack. Daemons run as `user`; None if we are not root and they run as us."""

    run_dir: Path
    ports: StackPorts
    user: str | None
    collector: str = HERE  # what the routers send BMP to

    def path(self, name: str) -> Path:
        """The path of this name in the run directory."""
        return self.run_dir / name

    def write(self, name: str, text: str) -> Path:
        """Write a file to the run directory that the daemons can read; its path."""
        path = self.path(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW  # no link of theirs leads root elsewhere
        with open(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        return path

    def make_folder(self, name: str) -> Path:
        """Create a subdirectory of the run directory in which the daemons can only read; its path."""
        path = self.path(name)
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        return path

    def make_directory(self, name: str) -> Path:
        """Create a subdirectory of the run directory that the daemons can write to; its path."""
        path = self.path(name)
        path.mkdir(exist_ok=True)
        if self.user:
            shutil.chown(path, self.user)
        return path


def fill(template: str, **values: object) -> str:
    """The text of a template in deploy/local with its placeholders filled in; KeyError names one without a value."""
    here = dict.fromkeys(("address", "kafka_host", "collector"), HERE)
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(here | values)


def binary(name: str) -> str:
    """The path of an executable; EnvironmentProblem names the Debian package to install if it is missing."""
    if path := shutil.which(name, path=SEARCH_PATH):
        return path
    raise EnvironmentProblem(f"{name} is not installed; install the Debian package {PACKAGE_OF[name]}")


def make_run_dir(wanted: Path | None) -> Path:
    """Create the wanted directory, or a temporary one with a short name if None; its path. Only we may enter it.

    EnvironmentProblem unless it is new, or empty and ours: another run may be using it, or its owner may change it.
    """
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="autopilot-"))
    user = pwd.getpwuid(os.geteuid()).pw_name
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        if wanted.stat().st_uid != os.geteuid() or any(wanted.iterdir()):
            raise EnvironmentProblem(f"{wanted} is not an empty directory of {user}; name one that does not exist yet")
        wanted.chmod(0o700)
    except OSError as error:
        raise EnvironmentProblem(
            f"{wanted} cannot be used by user {user}, as whom this runs ({error.strerror}); choose one under /tmp"
        ) from error
    return wanted.resolve()


def open_site(
    run_dir: Path, bgp_addresses: Sequence[str] = (), ports: StackPorts | None = None, collector: str = HERE
) -> Site:
    """Check the machine, and choose free ports if none are given; EnvironmentProblem lists everything that is wrong."""
    user = DAEMON_USER if os.geteuid() == 0 else None
    if user:
        shutil.chown(run_dir, user)
    ports = ports or choose_ports(bgp_addresses)
    if problems := [*missing(), *port_problems(ports, bgp_addresses), *_directory(run_dir, user)]:
        raise EnvironmentProblem("the local stack cannot start:\n" + "\n".join(f"- {problem}" for problem in problems))
    site = Site(run_dir, ports, user, collector)
    site.write("ports.json", msgspec.json.format(msgspec.json.encode(ports)).decode() + "\n")
    return site


def missing() -> Iterator[str]:
    """Every binary, template and jar that is missing, each with what to do about it."""
    absent = [name for name in PACKAGE_OF if shutil.which(name, path=SEARCH_PATH) is None]
    yield from (
        f"{name} is not installed: install the package {PACKAGE_OF[name]}, or run `make install`" for name in absent
    )
    if not TEMPLATES.is_dir():
        yield f"{TEMPLATES} is missing: the local stack only runs from a checkout of the repository"
    elif not any(KAFKA_JARS.glob("kafka_*.jar")):
        yield f"Kafka's jars are not in {KAFKA_JARS}: run deploy/local/kafka-jars.sh"


def _directory(run_dir: Path, user: str | None) -> Iterator[str]:
    if (free := shutil.disk_usage(run_dir).free) < FREE_DISK_BYTES:
        yield f"{run_dir} has {free / 1e9:.1f} GB free; the local stack needs {FREE_DISK_BYTES / 1e9:.0f} GB"
    if len(os.fsencode(run_dir)) > RUN_DIR_MAX_BYTES:
        yield f"{run_dir} is too long a path for the unix sockets in it; use at most {RUN_DIR_MAX_BYTES} bytes"
    if user and subprocess.run([*setpriv(user), "test", "-w", run_dir], check=False).returncode:
        yield f"the daemons run as user {user}, who cannot write to {run_dir}; choose a directory under /tmp"
