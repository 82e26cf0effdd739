"""Compiles app/native into wheels and editable installations.

Without a C compiler the package still works; `autopilot` then warns that it reads flows more slowly.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER, LIBRARY = Path("app/native"), Path("app/native/libnative.so")
FLAGS = ("-std=c11", "-O3", "-Wall", "-Wextra", "-shared", "-fPIC")


def compile_native(root: Path) -> bool:
    """Compile; return False without a compiler. CalledProcessError if compiling fails, with its output on stderr."""
    if shutil.which("cc") is None:
        print("no C compiler (cc): flows will be read more slowly", file=sys.stderr)
        return False
    subprocess.run(["cc", *FLAGS, "-o", root / LIBRARY, *sorted((root / FOLDER).glob("*.c"))], check=True)
    return True


class NativeHook(BuildHookInterface[Any]):
    """The build hook that hatchling calls for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if compile_native(Path(self.root)):
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"py3-none-{platform}", "artifacts": [str(LIBRARY)]}
