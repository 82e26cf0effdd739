"""Records that cannot be used, with the reason: the common result of every feed decoder."""

import msgspec

RAW_BYTES_MAX = 64 * 1024
RECORD_BYTES_MAX = 64 * 1024  # of one record: collectors write a few hundred bytes, a BGP message has 4,096
REASON_CHARS_MAX = 300


class Rejected(msgspec.Struct, frozen=True):
    """A record that cannot be used: its bytes, cut to RAW_BYTES_MAX, and the reason. It becomes a dead letter."""

    raw: bytes
    reason: str


def rejected(raw: bytes, error: Exception) -> Rejected:
    """A Rejected of these bytes. The reason is cut too, because error messages quote the record."""
    reason = "nested too deep" if isinstance(error, RecursionError) else str(error) or type(error).__name__
    return Rejected(raw[:RAW_BYTES_MAX], reason[:REASON_CHARS_MAX])


def check_size(raw: bytes) -> None:
    """ValueError for a record larger than RECORD_BYTES_MAX; call this before parsing it."""
    if len(raw) > RECORD_BYTES_MAX:
        raise ValueError(f"a record of {len(raw)} bytes; at most {RECORD_BYTES_MAX} are accepted")
