"""Remembers that a server was silent, so that not every caller has to wait to find it out again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import forks

#: How long a server that let one caller wait in vain counts as silent, s; then one caller tries.
SILENT_FOR_S: Final = 1.0


class Cooldown:
    """Lets one caller at a time try a server that was silent; the others need not.

    A server that refuses connections says so at once and costs no caller any time. One that is frozen, or behind a
    network that drops packets, costs every caller its whole time limit. A hint is not worth that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._try_again_at: float | None = None  # on Python's clock; None while the server answers
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """A thread that was finding out is the parent's; see :mod:`forks`."""
        self._lock = threading.Lock()
        self._try_again_at = None

    def begin(self) -> None:
        """Record that a caller waited in vain."""
        with self._lock:
            self._try_again_at = time.monotonic() + SILENT_FOR_S

    @contextmanager
    def permission(self) -> Iterator[bool]:
        """Whether it is worth asking: yes, unless it was silent a moment ago or another caller is finding out."""
        with self._lock:
            again_at = self._try_again_at
            worth_it = again_at is None or time.monotonic() >= again_at
            finding_out = worth_it and again_at is not None
            if finding_out:
                self._try_again_at = math.inf  # the others leave it to this caller
        try:
            yield worth_it
        finally:
            if finding_out:
                with self._lock:
                    if self._try_again_at == math.inf:  # not silent again: it answered, or refused at once
                        self._try_again_at = None
