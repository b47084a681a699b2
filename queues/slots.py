"""The free slots of one worker process: a slot is a worker thread that could start a job now."""

from __future__ import annotations

import threading
from typing import Final

#: How long a caller that waits for several slots lets more become free once there is one, s.
GATHER_S: Final = 0.01


class Slots:
    """Counts free slots. The consumer's thread occupies them, the worker threads release them.

    Once closed, none is free any more: the worker drains.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._closed = False
        self._wanted = 1  # how many are worth waking the consumer for
        self._changed = threading.Condition()

    @property
    def total(self) -> int:
        """How many there are, free or not."""
        return self._total

    @property
    def closed(self) -> bool:
        """Whether the worker drains."""
        return self._closed

    @property
    def occupied(self) -> int:
        """How many slots hold a turn, started or about to be."""
        with self._changed:
            return self._total - self._free

    def wait_free(self, timeout_s: float, *, worth: int = 1) -> int:
        """Wait until a slot is free, at most ``timeout_s``. Returns how many are; 0 after the time, or when closed.

        With ``worth``, a moment (:data:`GATHER_S`) is given for that many to become free.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0 or self._closed, timeout_s)
            if 0 < self._free < worth and not self._closed:
                self._wanted = worth
                self._changed.wait_for(lambda: self._free >= worth or self._closed, GATHER_S)
                self._wanted = 1
            return 0 if self._closed else self._free

    def occupy(self, n: int) -> None:
        """Fill ``n`` slots that :meth:`wait_free` said were free."""
        with self._changed:
            self._free -= n

    def release(self, n: int = 1) -> None:
        """Free ``n`` slots."""
        with self._changed:
            self._free += n
            if self._free >= self._wanted:
                self._changed.notify_all()

    def close(self) -> None:
        """Have no free slot from now on, and release the waiting callers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_closed(self, timeout_s: float) -> bool:
        """Sleep for ``timeout_s``, or until closed. Returns whether closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, timeout_s)
