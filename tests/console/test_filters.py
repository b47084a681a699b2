"""What ``--state`` means."""

from __future__ import annotations

from console.bulk.filters import Filters, StateWord
from storage.jobs.jobs import State


def test_every_state_can_be_asked_for_and_waiting_is_two_of_them() -> None:
    assert Filters().meant == ()
    assert [Filters(states=[StateWord(one)]).meant for one in State] == [(one,) for one in State]
    assert Filters(states=[StateWord.QUEUED, StateWord.WAITING]).meant == (State.QUEUED, State.SCHEDULED)
    assert set(StateWord) - set(map(StateWord, State)) == {StateWord.WAITING}
