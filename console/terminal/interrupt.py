"""Ctrl-C in a long command: the current step is finished and reported; a second Ctrl-C ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED, CUT_OFF = 130, 141
"""Exit codes after Ctrl-C, and after the reader of the output has gone, as a shell reports them of other programs."""

_STOPPING = b"\nstopping when the step under way has ended; once more stops at once\n"


class Stop:
    """SIGINT and SIGTERM as :class:`KeyboardInterrupt`, but the first one never inside :meth:`step`. A context."""

    def __init__(self) -> None:
        self.asked = False
        self._in_step = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def step(self) -> Iterator[None]:
        """A block that is finished before the first signal stops the command.

        :raises KeyboardInterrupt: at the end, if a signal came meanwhile; at once, if it was the second one.
        """
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False
        if self.asked:
            raise KeyboardInterrupt

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        if self._in_step and not self.asked:
            self.asked = True
            os.write(2, _STOPPING)  # a signal handler may not use a stream that the program was just writing to
            return
        self.asked = True
        raise KeyboardInterrupt

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # only the main thread receives signals
            self._before = {one: signal.signal(one, self._heard) for one in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Ctrl-C in this block ends the process at once and silently (exit code 130): for imports, before any work began.

    A :class:`KeyboardInterrupt` would not do: code that imports run (``__set_name__``, callbacks of C) turns it into
    other errors. SIGTERM needs nothing, because it ends such a process at once anyway.
    """
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell has it ignored
    if not is_usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def forget_output() -> None:
    """Drop the remaining text for a closed standard output, so that the process ends without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
