"""The loops that every flow record passes, in C: scanning lines and matching addresses.

Compiled when the package is installed (hatch_build.py). Where that could not be, the callers do the same in Python.
May import: nothing of ours.
Read: scan.c, match.c.
"""

import ctypes
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).with_name("libnative.so")
_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_int64


class Job(ctypes.Structure):
    """What a scan of flow records writes to; the same as `struct job` in scan.c."""

    _fields_ = (
        ("columns", _POINTER),
        ("capacity", _NUMBER),
        ("sources", _POINTER),
        ("slots", _POINTER),
        ("left", _POINTER),
        ("left_max", _NUMBER),
        ("flows", _NUMBER),
        ("source_count", _NUMBER),
        ("left_count", _NUMBER),
    )


def _load() -> Any:
    try:
        library = ctypes.PyDLL(str(LIBRARY))  # calls are short: the interpreter is not handed over and waited for
    except OSError:
        return None
    library.scan.argtypes = [ctypes.c_char_p, _NUMBER, ctypes.POINTER(Job)]
    library.match.argtypes = [_POINTER, _POINTER, _NUMBER, _POINTER, _NUMBER, _POINTER]
    library.match.restype = None
    return library


library = _load()  # None where it was not compiled
