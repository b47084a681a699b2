"""Remembers which queues cost connections, so that one that is broken for good is made anew.

A node that was killed soon after a queue was declared may come back with one that it lists and that answers nobody, and
whoever asks it loses its connection. A queue holds hints only, so deleting it costs a second of the sweep's time.
"""

from __future__ import annotations

from typing import Final

#: Within what time the same queue has to cost a second connection to be taken for broken, s. Once proves nothing: the
#: server may have been frozen just then.
AGAIN_WITHIN_S: Final = 60.0


class BrokenQueues:
    """Which queues are suspected, and which are to be made anew. Pure but for memory."""

    def __init__(self) -> None:
        self.to_mend: set[str] = set()
        self._suspected: dict[str, float] = {}

    def found(self, queue: str | None, now_s: float) -> None:
        """A connection was lost over a question that this queue left unanswered; None: over something else."""
        if queue is None:
            return
        before = self._suspected.pop(queue, None)
        if before is not None and now_s - before <= AGAIN_WITHIN_S:
            self.to_mend.add(queue)
        else:
            self._suspected[queue] = now_s
