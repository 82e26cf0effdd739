"""Compiles the scanner of flow lines (app/feeds/scan.c) into wheels and editable installations.

Without a C compiler the package works, too: `autopilot` then says that it reads flows more slowly.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, LIBRARY = Path("app/feeds/scan.c"), Path("app/feeds/libscan.so")
FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-shared", "-fPIC")


def compile_scanner(root: Path) -> bool:
    """Whether there is a compiler; CalledProcessError where it refuses, and what it says goes to stderr."""
    if shutil.which("cc") is None:
        print("no C compiler (cc): flows will be read more slowly", file=sys.stderr)
        return False
    subprocess.run(["cc", *FLAGS, "-o", root / LIBRARY, root / SOURCE], check=True)
    return True


class ScannerHook(BuildHookInterface[Any]):
    """Called by hatchling for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if compile_scanner(Path(self.root)):
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"py3-none-{platform}", "artifacts": [str(LIBRARY)]}
