"""The forecast of a start: shares by weight, backlogs that end, work that is under way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.jobs.start_forecast import Recent, WaitingWork, served_in_s, starts_in_s

STEADY = Recent(jobs=100, settled=90, tokens=10_000, span_s=100, from_idle=False)
NOTHING = Recent(jobs=0, settled=0, tokens=0, span_s=0, from_idle=True)
FOREVER = math.inf


def test_the_rate_counts_what_is_under_way_by_half_when_it_began_from_idle() -> None:
    from_idle = Recent(jobs=12, settled=8, tokens=1200, span_s=10, from_idle=True)

    assert STEADY.rate == pytest.approx(100)
    assert from_idle.rate == pytest.approx(100 * 10 / 10), (
        "8 settled and half of 4 that run, of 100 tokens each, in 10 s"
    )
    assert NOTHING.rate is None
    assert Recent(jobs=4, settled=0, tokens=400, span_s=3, from_idle=True).rate is None, "nothing has come of it yet"


@pytest.mark.parametrize(
    ("mine", "others", "seconds"),
    [
        (WaitingWork(1, 1000), [], 10),
        (WaitingWork(1, 1000), [WaitingWork(1, FOREVER)], 20),
        (WaitingWork(1, 1000), [WaitingWork(3, FOREVER)], 40),
        (WaitingWork(3, 3000), [WaitingWork(1, FOREVER)], 40),
        (WaitingWork(1, 1000), [WaitingWork(1, 500)], 15),  # half each for 10 s, then all of it for 5
        (
            WaitingWork(1, 1000),
            [WaitingWork(1, 500), WaitingWork(1, FOREVER)],
            25,
        ),  # a third each for 15 s, then half for 10
        (WaitingWork(1, 1000), [WaitingWork(1, 0)], 10),
        (WaitingWork(2, 0), [WaitingWork(1, FOREVER)], 0),
    ],
)
def test_work_is_shared_by_weight_among_those_who_have_some(
    mine: WaitingWork, others: list[WaitingWork], seconds: float
) -> None:
    assert served_in_s(mine, others, rate=100) == pytest.approx(seconds)


backlogs = st.builds(WaitingWork, st.floats(0.01, 100), st.floats(0, 1e6))


@given(backlogs, st.lists(backlogs, max_size=8), st.floats(0.1, 1e5))
def test_no_work_is_lost_or_done_twice(mine: WaitingWork, others: list[WaitingWork], rate: float) -> None:
    seconds = served_in_s(mine, others, rate=rate)
    virtual = mine.tokens / mine.weight
    done = mine.tokens + sum(min(one.tokens, virtual * one.weight) for one in others)

    assert seconds * rate == pytest.approx(done, rel=1e-6, abs=1e-6)


@given(backlogs, st.lists(backlogs, min_size=1, max_size=8))
def test_a_rival_never_makes_it_sooner_and_weight_never_later(mine: WaitingWork, others: list[WaitingWork]) -> None:
    alone, together = (served_in_s(mine, some, rate=50) for some in (others[1:], others))
    heavier = served_in_s(WaitingWork(mine.weight * 2, mine.tokens), others, rate=50)

    assert together >= alone * (1 - 1e-9)
    assert heavier <= together * (1 + 1e-9)


def test_a_free_thread_takes_it_at_once_and_without_a_rate_nobody_can_tell() -> None:
    facts = {"job_tokens": 100.0, "weight": 1.0, "recent": NOTHING}

    assert starts_in_s(ahead=0, rivals=[], free_threads=1, **facts) == 0
    assert starts_in_s(ahead=3, rivals=[], free_threads=4, **facts) == 0
    assert starts_in_s(ahead=4, rivals=[], free_threads=4, **facts) is None


def test_what_stands_before_it_and_half_a_round_come_first() -> None:
    facts = {"job_tokens": 100.0, "weight": 1.0, "recent": STEADY, "free_threads": 0}

    assert starts_in_s(ahead=9, rivals=[], **facts) == pytest.approx(9.5)
    assert starts_in_s(ahead=9, rivals=[WaitingWork(1, FOREVER)], **facts) == pytest.approx(19)
