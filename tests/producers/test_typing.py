"""The types of the way in hold for those who check theirs: a dry run is a quote, all else a job's id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_enqueue_has_the_types_that_it_says() -> None:
    file = Path(__file__).with_name("typing_of_enqueue.py")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
