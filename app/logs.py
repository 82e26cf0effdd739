"""One line per log record on stderr: a JSON object, or text for people. Libraries log through it, too.

Callers pass what a line is about as `extra=` (see FIELDS); it is never parsed out of the message.
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
    """A JSON object of `at`, `level`, `logger`, `message`, the record's FIELDS, and the `traceback` of an exception."""

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
    """Log to stderr from now on; warnings and uncaught exceptions become log lines, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)  # the command line has muted it
    logging.captureWarnings(True)
    sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
