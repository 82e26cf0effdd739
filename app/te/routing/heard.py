"""Whether what BMP showed of a router can still be relied on."""

from typing import NamedTuple


class Heard(NamedTuple):
    """How long a router has been silent on BMP, in seconds; inf if it was never heard.

    While it is `doubtful`, no BMP session has its whole table: its paths may be out of date, and no move leads there.
    """

    silent_s: float = 0.0
    doubtful: bool = False


def always_heard(_: str) -> Heard:
    """Every router is heard right now."""
    return Heard()
