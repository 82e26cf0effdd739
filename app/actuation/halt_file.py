"""The kill switch that needs no Kafka: a file whose presence withdraws every override."""

from pathlib import Path


def is_halted(path: Path) -> bool:
    """Whether the halt file exists; if that cannot be known, it does."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
