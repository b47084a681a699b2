"""Answers that one thread waits for and the connection's own thread gives."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def answer(future: Future[T], value: T) -> bool:
    """Give the answer. Returns whether somebody still waits for it: if not, what it holds is nobody's."""
    if not _waited_for(future):
        return False
    future.set_result(value)
    return True


def refuse(future: Future[T], error: Exception) -> None:
    """Say that there will be no answer."""
    if _waited_for(future):
        future.set_exception(error)


def _waited_for(future: Future[T]) -> bool:
    # Only the connection's thread gives answers, so nobody else ends it between the two; a caller may give up, and then
    # the second says so.
    return not future.done() and future.set_running_or_notify_cancel()
