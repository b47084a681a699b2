"""Real processes and real faults, by schedule: nothing is lost, nothing ends twice, the books agree to the cent.

Five short schedules that have every kind of fault between them; ``make chaos`` plays long ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.ground import Ground, ground, may_signal_servers
from tests.chaos.run import run
from tests.chaos.short import SEEDS, SHORT_S


@pytest.fixture(scope="module")
def here() -> Iterator[Ground]:
    if not may_signal_servers():
        pytest.skip("the servers run as another user, whose processes cannot be signalled")
    with ground() as found:
        yield found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_schedule_breaks_no_promise(here: Ground, seed: int) -> None:
    report = run(here, seed, seconds=SHORT_S)

    assert report.breaches == [], report.replay()
    assert report.figures.endings["succeeded"] > 0, report
    assert len(report.missed) < len(report.actions), report.missed
