"""A hostile tenant plays every attack at random beside ordinary ones, and they notice nothing.

One minute with a printed seed; ``make chaos`` plays each attack alone and all of them together for longer.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.hostile.attacks import ATTACKS
from tests.hostile.play import scene
from tests.support.fleet import Urls

SECONDS = 40.0
LONGEST_WAIT_S = 10.0
"""Far above what is seen, and far below what each of the attacks once cost (20 s to 300 s)."""


def test_a_hostile_tenant_moves_none_of_its_neighbours(urls: Urls, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with scene(urls, tmp_path, ordinary=4) as on:
        waits = on.play(tuple(ATTACKS), seconds=SECONDS, seed=seed)
        breaches = on.judge()

    assert breaches == [], f"python -m tests.hostile --seed {seed}"
    assert waits.longest_s < LONGEST_WAIT_S, waits
