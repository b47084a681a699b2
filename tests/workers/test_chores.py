"""The loop around the chores: whatever one of them does, the others go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from errors import CutOffError, PostgresUnavailableError
from tests.support.fleet import eventually
from workers import chores as loops
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


def asked_for(chore: Chore, passes: list[int], *, until: int) -> None:
    """Let a loop do a chore, and ask for it again and again until it had so many passes."""
    stopping = threading.Event()
    loop = ChoreLoop("test", [chore], Notes())
    thread = threading.Thread(target=loop.run, args=[stopping])
    thread.start()
    eventually(lambda: loop.ask() or len(passes) >= until)
    for _ in range(20):
        loop.ask()
        time.sleep(0.001)
    stopping.set()
    loop.ask()
    thread.join(30)
    assert not thread.is_alive(), "it is told to stop, and waits for no chore"


def test_a_chore_that_is_asked_for_comes_before_its_time_and_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    asked_for(Chore("wakes", 3600.0, lambda: passes.append(1), on_request=True), passes, until=3)

    monkeypatch.setattr(loops, "LEAST_PAUSE_WHEN_ASKED_S", 3600.0)
    passes.clear()
    asked_for(Chore("wakes", 3600.0, lambda: passes.append(1), on_request=True), passes, until=1)
    assert len(passes) == 1, "however often it is asked for, passes have their pause"

    passes.clear()
    asked_for(Chore("sweep", 3600.0, lambda: passes.append(1)), passes, until=1)
    assert len(passes) == 1, "it is not done on request"


def test_asking_for_a_chore_that_fails_does_not_shorten_its_pause() -> None:
    passes: list[int] = []

    def fail() -> None:
        passes.append(1)
        raise PostgresUnavailableError

    asked_for(Chore("wakes", 3600.0, fail, on_request=True), passes, until=1)

    assert len(passes) == 1
