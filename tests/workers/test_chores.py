"""The loop around the chores: whatever one of them does, the others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from errors import CutOffError, PostgresUnavailableError
from workers.chores import Chore, ChoreLoop

OFTEN = 0.001


class Notes:
    """What was noted, in memory."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, Exception]] = []

    def got_through(self, chores: Sequence[Chore]) -> None:
        """Not asked here."""

    def failed(self, chore: Chore, error: Exception) -> None:
        self.failures.append((chore.name, error))


def done_until(stop: Callable[[], bool], *chores: Chore) -> Notes:
    """Let a loop do these chores until ``stop``, which is asked by a chore of its own."""
    notes, stopping = Notes(), threading.Event()

    def look() -> None:
        if stop():
            stopping.set()

    loop = ChoreLoop("test", [*chores, Chore("look", OFTEN, look)], notes)
    thread = threading.Thread(target=loop.run, args=[stopping])
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return notes


@pytest.mark.parametrize("error", [ValueError("a row"), CutOffError("too long"), RecursionError()])
def test_a_chore_that_fails_is_tried_again_and_stops_no_other(error: Exception) -> None:
    tries, others = [], []

    def fail() -> None:
        tries.append(1)
        raise error

    notes = done_until(
        lambda: len(tries) >= 3 and len(others) >= 3,
        Chore("bad", OFTEN, fail),
        Chore("good", OFTEN, lambda: others.append(1)),
    )

    assert notes.failures[:3] == [("bad", error)] * 3


def test_a_service_that_is_away_is_no_failure_of_a_chore() -> None:
    tries = []

    def ask() -> None:
        tries.append(1)
        raise PostgresUnavailableError

    assert done_until(lambda: len(tries) >= 3, Chore("asks", OFTEN, ask)).failures == []


def test_a_chore_with_more_to_do_comes_again_before_its_time() -> None:
    passes: list[int] = []

    def work() -> bool:
        passes.append(1)
        return len(passes) < 5

    done_until(lambda: len(passes) >= 5, Chore("backlog", 3600.0, work))

    assert len(passes) == 5  # the fifth had nothing more to do
