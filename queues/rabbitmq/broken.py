"""Remembers which queues cost connections, so that a permanently broken queue is recreated.

A node that was killed soon after a queue was declared may come back with a queue that it lists and that never answers;
every caller that asks that queue loses its connection. A queue holds hints only, so deleting it costs a second of the
sweep's time.
"""

from __future__ import annotations

from typing import Final

#: The time within which the same queue has to cost a second connection to count as broken, s. Once proves nothing: the
#: server may have been frozen just then.
AGAIN_WITHIN_S: Final = 60.0


class BrokenQueues:
    """The queues that are suspected, and those that are to be recreated. Pure except for memory."""

    def __init__(self) -> None:
        self.to_mend: set[str] = set()
        self._suspected: dict[str, float] = {}

    def found(self, queue: str | None, now_s: float) -> None:
        """A connection was lost over a question that this queue left unanswered; None: over another cause."""
        if queue is None:
            return
        before = self._suspected.pop(queue, None)
        if before is not None and now_s - before <= AGAIN_WITHIN_S:
            self.to_mend.add(queue)
        else:
            self._suspected[queue] = now_s
