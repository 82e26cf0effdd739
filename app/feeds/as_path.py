"""AS paths as collectors print them: `64601 65000`, sets `{65001,65002}`, confederation segments `(..)` and `[..]`."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

UINT32_MAX = 2**32 - 1
_CACHED = 1 << 14  # the same AS paths occur over and over
_CACHED_CHARS = 500  # a neighbour chooses how long its paths are
_TOKEN = re.compile(r"[{}()\[\]]|[^\s,{}()\[\]]+")
_CLOSING = {"{": "}", "(": ")", "[": "]"}


class AsPath(NamedTuple):
    """The numbers of sequences and sets in order; `hops` is the length if there is more than sequences, else None.

    A set counts 1 (RFC 4271), a confederation segment 0 and its numbers are left out (RFC 5065). A path that begins
    with one is internal: another member of the confederation sent it.
    """

    numbers: tuple[int, ...]
    hops: int | None = None
    is_internal: bool = False


def read_as_path(as_path: str | list[Any]) -> AsPath:
    """Read an AS path; ValueError if it is not one. pmacct 1.7.9 may send an array."""
    if isinstance(as_path, str):
        return _read(as_path) if len(as_path) <= _CACHED_CHARS else _read.__wrapped__(as_path)
    if not all(isinstance(each, str | int) for each in as_path):
        raise ValueError("an array in an array is no AS number")
    return _read(" ".join(map(str, as_path)))


@lru_cache(_CACHED)
def _read(text: str) -> AsPath:
    if text.replace(" ", "").isdecimal() and text.isascii():
        return AsPath(tuple(map(_number, text.split())))
    numbers: list[int] = []
    hops, opened, is_plain = 0, "", True
    for token in _TOKEN.findall(text):
        if token in _CLOSING and not opened:
            opened, is_plain = token, False
            hops += token == "{"
        elif opened and token == _CLOSING[opened]:
            opened = ""
        else:
            number = _number(token)  # a bracket out of place is no number
            hops += not opened
            if opened in ("", "{"):
                numbers.append(number)
    if opened:
        raise ValueError(f"{opened} is never closed")
    return AsPath(tuple(numbers), None if is_plain else hops, text.lstrip()[:1] in ("(", "["))


def _number(token: str) -> int:
    number = int(token) if token.isascii() and token.isdecimal() and len(token) <= 10 else -1
    if not 0 <= number <= UINT32_MAX:
        raise ValueError(f"{token[:20]!r} is no AS number")
    return number
