"""Lets nothing of the demo run as root: if root starts it, it starts itself again as an ordinary user.

That user often cannot go to where the checkout is, such as /root. The directory in which a process works stays open to
it all the same, so the demo works in the checkout and calls it HERE.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import EnvironmentProblem
from app.lab.daemons.machine import CHECKOUT, DAEMON_USER
from app.lab.daemons.runner import identity

HERE = Path("/proc/self/cwd")


def become(arguments: Sequence[str]) -> None:
    """As root, replace this process by `autopilot` with these arguments as an ordinary user. Others may go on."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(DAEMON_USER)
    python, drop = str(reached(Path(sys.executable))), ("setpriv", *identity(DAEMON_USER), "--")
    ours = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "PYTHONPATH": str(HERE)}
    environment = os.environ | ours
    os.chdir(CHECKOUT)
    # What setpriv itself starts is still found with root's rights, so the shell stands between.
    try_it = [*drop, "sh", "-c", 'cat app/__main__.py >/dev/null && exec "$0" -c "import app"', python]
    tried = subprocess.run(try_it, env=environment, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise EnvironmentProblem(
            f"root lets the demo run as user {user.pw_name}, who cannot use {CHECKOUT} or its Python; make both"
            f" readable for others, or run the demo as an ordinary user:\n{tried.stderr.strip()}"
        )
    os.execvpe(drop[0], [*drop, python, "-m", "app", *arguments], environment)


def reached(path: Path) -> Path:
    """Where the ordinary user finds this file: anything in the checkout is HERE."""
    path = path.absolute()
    return HERE / path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path
