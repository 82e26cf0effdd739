"""What cannot be used, and why: the common result of every feed decoder."""

import msgspec

RAW_BYTES_MAX = 64 * 1024


class Bad(msgspec.Struct, frozen=True):
    """Bytes that do not parse, cut to a bound, with the reason; becomes a dead letter."""

    raw: bytes
    reason: str


def bad(raw: bytes, error: Exception) -> Bad:
    """A Bad of these bytes."""
    return Bad(raw[:RAW_BYTES_MAX], str(error) or type(error).__name__)
