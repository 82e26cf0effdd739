"""What cannot be used, and why: the common result of every feed decoder."""

import msgspec

RAW_BYTES_MAX = 64 * 1024
RECORD_BYTES_MAX = 64 * 1024  # of one record: collectors write some hundred bytes, a BGP message has 4,096
REASON_CHARS_MAX = 300


class Rejected(msgspec.Struct, frozen=True):
    """Bytes that do not parse, cut to a bound, with the reason; becomes a dead letter."""

    raw: bytes
    reason: str


def rejected(raw: bytes, error: Exception) -> Rejected:
    """A Rejected of these bytes; the reason is cut too, for errors quote what they found."""
    return Rejected(raw[:RAW_BYTES_MAX], (str(error) or type(error).__name__)[:REASON_CHARS_MAX])


def check_size(raw: bytes) -> None:
    """ValueError for a record larger than RECORD_BYTES_MAX, before anything parses it."""
    if len(raw) > RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(raw)} bytes, at most {RECORD_BYTES_MAX} are read")
