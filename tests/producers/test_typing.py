"""The types of the way in hold for those who check theirs: a dry run is a quote, all else a job's id."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_enqueue_and_the_light_client_have_the_types_that_they_say() -> None:
    files = [Path(__file__).with_name("typing_of_enqueue.py"), ROOT / "tests" / "clients" / "typing_of_client.py"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, files)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
