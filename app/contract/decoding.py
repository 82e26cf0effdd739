"""Reads bytes that somebody else wrote. The result is a record or the reason why it is none; nothing is raised.

Every reader of every topic decodes here: agents, page, command line, kill switch. What a JSON library raises is not one
kind of exception (msgspec: its own, UnicodeDecodeError, RecursionError, OverflowError and more), so all are caught.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from app.contract.topics import DECISION_BYTES_MAX

RAW_BYTES_MAX = 64 * 1024
REASON_CHARS_MAX = 300

T = TypeVar("T")


class Rejected(msgspec.Struct, frozen=True):
    """A record that cannot be used: its bytes, cut to RAW_BYTES_MAX, and the reason. It becomes a dead letter.

    `index` is its line in a message of many, from 0 on; it may stand for several `records`.
    """

    raw: bytes
    reason: str
    index: int = 0
    records: int = 1


def printable(text: str) -> str:
    """The same text without line breaks, terminal escapes and the like: what others wrote must not act when shown."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


Read = Callable[[bytes | None], T | Rejected]


def rejected(raw: bytes, error: Exception, records: int = 1) -> Rejected:
    """A Rejected of these bytes. The reason is cut too, because error messages quote the record."""
    reason = "nested too deep" if isinstance(error, RecursionError) else str(error) or type(error).__name__
    return Rejected(raw[:RAW_BYTES_MAX], printable(reason[:REASON_CHARS_MAX]), records=records)


def decode_or_rejected(decode: Callable[[bytes], T], raw: bytes, bytes_max: int | None = None) -> T | Rejected:
    """`decode(raw)`, or a Rejected if it raises anything or the record is larger than `bytes_max`."""
    try:
        if not raw:
            raise ValueError("an empty record")
        if bytes_max is not None and len(raw) > bytes_max:
            raise ValueError(f"a record of {len(raw)} bytes; at most {bytes_max} are accepted")
        return decode(raw)
    except Exception as error:
        return rejected(raw, error)


def reader_of(kind: Any) -> Read[T]:
    """A function that reads JSON records of this type."""
    decode: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode

    def read(raw: bytes | None) -> T | Rejected:
        return decode_or_rejected(decode, raw or b"", DECISION_BYTES_MAX)

    return read
