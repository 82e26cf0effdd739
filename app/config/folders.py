"""The folders and files of the settings as this host has them."""

import os
import tempfile
from pathlib import Path


def unwritable(data_dir: Path, halt_file: Path, offline: bool = False) -> list[str]:
    """Return a problem for each folder of the settings that this process cannot write to, if it is here at all.

    Files may be checked on another host or by another user: `offline`, a lack of permission is no problem.
    """
    problems = []
    for key, folder in {"data_dir": data_dir, "halt_file": halt_file.parent}.items():
        there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # also where it may not look
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except PermissionError as error:
            if not offline:
                problems.append(
                    f"{key}: {there}: {_reason(error)}; let this user write there, or choose another folder"
                )
        except OSError as error:
            problems.append(f"{key}: {folder} cannot be made in {there}: {_reason(error)}; choose another folder")
    if os.path.isdir(halt_file):
        problems.append(f"halt_file: {halt_file} is a folder, so this host would stay halted; write the name of a file")
    return problems


def _reason(error: OSError) -> str:
    return (error.strerror or "it cannot be written to").lower()
