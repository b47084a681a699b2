"""The format of log lines: readable on a terminal, JSON for programs; standard error; without secrets.

Several processes and many threads write to one pipe or file. So a line is written by one ``write(2)``, and a line of
JSON has at most :data:`LONGEST_LINE` bytes: a pipe may split a longer one, and then two lines interleave.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from redaction import without_logins
from settings import Settings

#: Bytes of a line of JSON with its line break: a pipe takes as many in one piece (``PIPE_BUF`` of Linux).
LONGEST_LINE: Final = 4096
#: The event name of lines from libraries (httpx2, openai, dramatiq, pika, psycopg, Python's warnings, …).
LIBRARY_EVENT: Final = "library.message"

log = structlog.get_logger("headrace.process")
_MESSAGE_LENGTH: Final = 1_000
_KEPT: Final = ("timestamp", "level", "event")
_CUTS: Final = 200
_WORTH_A_CUT: Final = 60


class LineStream:
    """A stream that writes each line by one system call, and drops a line that cannot be written.

    A full disk below the log must not end a job, and a line that is written in two pieces may be interleaved with
    another one.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a line, with its line break."""
        with suppress(OSError, ValueError):  # a full disk, a reader that is gone, a closed stream
            descriptor = self._descriptor()
            if descriptor is None:
                self._stream.write(text)
            else:
                self._stream.flush()  # earlier prints must come out before this line
                data = text.encode("utf-8", "backslashreplace")
                while data:  # one call, except for a line that is longer than a pipe takes
                    data = data[os.write(descriptor, data) :]
        return len(text)

    def flush(self) -> None:
        """Flush as much as can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def _descriptor(self) -> int | None:
        """Asked again each time: the number of a closed stream may belong to another file by now."""
        try:
            return self._stream.fileno()
        except (AttributeError, OSError, ValueError):
            return None  # no file: a test's or a notebook's stream


class _LibraryHandler(logging.StreamHandler[Any]):
    """Writes the lines of libraries. A line whose arguments do not fit its format is written without them."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the base class's name)
        if record.args:
            record.args = None
            self.emit(record)


def configure_logs(settings: Settings) -> None:
    """Set up structlog, and the standard library's loggers (the libraries') to the same place and level."""
    level = getattr(logging, settings.log_level.upper())
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, as_line]
        if as_json
        # tracebacks without the values of locals, which may be a URL with its password
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    stream = cast("TextIO", LineStream(sys.stderr))
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = _LibraryHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[*shared, of_a_library],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


def log_uncaught() -> None:
    """Log the bug that ends a thread or the process: Python itself would print it in many pieces."""

    def of_thread(given: threading.ExceptHookArgs) -> None:
        if given.exc_type is not SystemExit:
            name = given.thread.name if given.thread is not None else None
            log.critical("process.fault", thread=name, exc_info=(given.exc_type, given.exc_value, given.exc_traceback))

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("process.fault", thread=None, exc_info=(kind, error, trace))

    threading.excepthook = of_thread
    sys.excepthook = of_process


def of_a_library(_logger: WrappedLogger, _method: str, facts: EventDict) -> EventDict:
    """Give a library's line our event name; its own text becomes a field."""
    name = str(facts["_record"].name)
    message = without_logins(str(facts["event"])[:_MESSAGE_LENGTH])
    facts.update(event=LIBRARY_EVENT, library=name.partition(".")[0], logger=name, message=message)
    return facts


def as_line(_logger: WrappedLogger, _method: str, facts: EventDict) -> str:
    """The facts as one line of JSON that fits :data:`LONGEST_LINE`; values that are too long are cut, the longest
    first.
    """
    facts = {name: _plain(value) for name, value in facts.items()}
    if "exception" in facts:
        facts["exception"] = without_logins(str(facts["exception"]))
    most = LONGEST_LINE - 1  # for the line break
    for _ in range(_CUTS):
        line = _json(facts)
        if len(line) <= most:
            return line
        lengths = {name: len(_json(value)) for name, value in facts.items()}
        longest = max(lengths, key=lengths.__getitem__)
        if lengths[longest] < _WORTH_A_CUT:
            break
        facts[longest] = _cut(facts[longest], 1 - (len(line) - most) / lengths[longest], tail=longest == "exception")
    return _json({name: str(facts.get(name))[:100] for name in _KEPT} | {"cut": True})


def _cut(value: Any, share: float, *, tail: bool) -> str:
    """About that share of a value's text. The end of a traceback says most; other texts say most at their beginning."""
    text = value if isinstance(value, str) else _json(value)
    kept = min(max(int(len(text) * share) - 40, 0), len(text) * 9 // 10)
    last = kept * 3 // 4 if tail else 0
    gone = f"… ({len(text) - kept} characters cut) …" if kept else "…"
    return text[: kept - last] + gone + (text[-last:] if last else "")


def _plain(value: Any) -> Any:
    """Values that JSON cannot express, as text: infinite numbers."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Any) -> str:
    return json.dumps(value, default=repr)
