"""A schedule is its seed's: the same one each time, all kinds in it, the short one the beginning of the long one."""

from __future__ import annotations

import pytest

from tests.chaos.schedule import CARDS, FAULTS, SCHEDULERS, WORKERS, Kind, deal
from tests.chaos.short import SEEDS, SHORT_S
from tests.chaos.stage import SILENT_S


def test_the_same_seed_deals_the_same_schedule() -> None:
    assert deal(7, seconds=60) == deal(7, seconds=60)


def test_another_seed_deals_another_schedule() -> None:
    assert deal(7, seconds=60) != deal(8, seconds=60)


@pytest.mark.parametrize("seed", range(20))
def test_a_longer_schedule_begins_with_the_shorter_one(seed: int) -> None:
    short, long = deal(seed, seconds=SHORT_S), deal(seed, seconds=60)

    assert long[: len(short)] == short
    assert all(action.at_s > SHORT_S for action in long[len(short) :])


@pytest.mark.parametrize("seed", range(20))
def test_a_minute_has_every_kind_of_action_and_every_fault(seed: int) -> None:
    actions = deal(seed, seconds=60)

    assert {(action.kind, action.fault) for action in actions} == set(CARDS)
    assert [action.at_s for action in actions] == sorted(action.at_s for action in actions)
    assert all(0 < action.at_s <= 60 for action in actions)


@pytest.mark.parametrize("seed", range(20))
def test_actions_name_what_they_are_done_to(seed: int) -> None:
    for action in deal(seed, seconds=60):
        if "worker" in action.kind:
            assert action.target in WORKERS
        if action.kind in (Kind.KILL_SCHEDULER, Kind.FREEZE_SCHEDULER, Kind.FREEZE_AT_WIRE):
            assert action.target in SCHEDULERS
        if action.kind is Kind.FAULTY_PROVIDER:
            assert action.fault in FAULTS
            assert action.target in ("openai", "anthropic", "both")
        if action.kind is Kind.FREEZE_WORKER:
            assert action.lasts_s > SILENT_S  # else its jobs would not be reclaimed


def test_the_five_schedules_of_the_suite_have_every_card_between_them() -> None:
    dealt = {(action.kind, action.fault) for seed in SEEDS for action in deal(seed, seconds=SHORT_S)}

    assert dealt == set(CARDS)
