"""Answers that one thread waits for and the connection's own thread gives."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def answer(future: Future[T], value: T) -> bool:
    """Give the answer. Returns whether a caller still waits for it: if not, the turns in it have no owner."""
    if not _waited_for(future):
        return False
    future.set_result(value)
    return True


def refuse(future: Future[T], error: Exception) -> None:
    """Report that there will be no answer."""
    if _waited_for(future):
        future.set_exception(error)


def _waited_for(future: Future[T]) -> bool:
    # Only the connection's thread gives answers, so no other thread ends it between the two. A caller may give up, and
    # then the second call reports that.
    return not future.done() and future.set_running_or_notify_cancel()
