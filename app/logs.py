"""One line per log record on stderr: a JSON object, or text for people. Libraries log through it, too.

Callers pass what a line is about as `extra=` (see FIELDS); it is never parsed out of the message. What is tried again
and again, such as to reach a broker that is away, is said once a minute.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Literal

import msgspec

from app.clock import utc

LogFormat = Literal["json", "text"]
FIELDS = ("pop", "link", "decision", "router", "prefix")  # decision is EPOCH.SEQ
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

OFTEN = {"often": True}  # `extra` of a line about what is tried again and again
LIBRARIES = ("aiohttp", "aiokafka", "asyncio", "faust", "mode")
SAY_AGAIN_S = 60.0
HEAD_CHARS = 40  # of a library's message: what it is about comes behind, or fills %s
CAUSES_MAX = 1000

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


class OncePerMinute(logging.Filter):
    """Passes a line of a library, or one that is logged OFTEN, only if its cause was not said within SAY_AGAIN_S.

    The next line of that cause says how many were left out. A warning of a library has the cause that its message
    begins with, whatever fills it; of all other lines the whole text counts. Numbers are no part of a cause.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic_s = monotonic_s
        self._said: dict[Hashable, tuple[float, int]] = {}  # when, and how many were left out since; oldest first

    def filter(self, record: logging.LogRecord) -> bool:
        if (cause := _cause(record)) is None:
            return True
        now_s = self._monotonic_s()
        said_s, left_out = self._said.get(cause, (now_s - SAY_AGAIN_S, 0))
        if now_s - said_s < SAY_AGAIN_S:
            self._said[cause] = said_s, left_out + 1
            return False
        self._said.pop(cause, None)
        self._said[cause] = now_s, 0
        if len(self._said) > CAUSES_MAX:
            del self._said[next(iter(self._said))]
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times more since it was said)", ()
        return True


def _cause(record: logging.LogRecord) -> Hashable | None:
    """What a line must not be said of too often; None if each must be said."""
    of_library = record.name.partition(".")[0] in LIBRARIES
    if not of_library and not getattr(record, "often", False):
        return None
    is_problem = of_library and record.levelno >= logging.WARNING
    text = str(record.msg)[:HEAD_CHARS] if is_problem else record.getMessage()
    kind = record.exc_info[0] if record.exc_info else None
    return record.name, record.levelno, kind, re.sub(r"\d+", "", text)


def set_up(log_format: LogFormat) -> None:
    """Log to stderr from now on; warnings and uncaught exceptions become log lines, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT))
    handler.addFilter(OncePerMinute())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)  # the command line has muted it
    logging.captureWarnings(True)
    sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
