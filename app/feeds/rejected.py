"""Records of collectors that cannot be used; app/contract/decoding.py has what all readers share."""

from app.contract.decoding import RAW_BYTES_MAX, REASON_CHARS_MAX, Rejected, decode_or_rejected, rejected

__all__ = ["RAW_BYTES_MAX", "REASON_CHARS_MAX", "RECORD_BYTES_MAX", "Rejected", "decode_or_rejected", "rejected"]

RECORD_BYTES_MAX = 64 * 1024  # of one record: collectors write a few hundred bytes, a BGP message has 4,096
