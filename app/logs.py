"""One line a log record on stderr: a JSON object, or text for people. Libraries log through it, too.

What a line is about is passed as `extra=`, never parsed out of its message: see FIELDS.
"""

import logging
import sys
from types import TracebackType
from typing import Literal

import msgspec

from app.clock import utc

LogFormat = Literal["json", "text"]
FIELDS = ("pop", "link", "decision", "router", "prefix")  # decision is EPOCH.SEQ
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """`at`, `level`, `logger`, `message`, the FIELDS that the record has, and the `traceback` of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up(log_format: LogFormat) -> None:
    """From here on stderr is the log's alone: warnings and what nobody catches become lines of it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)  # the command line had muted it
    logging.captureWarnings(True)
    sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
