"""What a test needs and this machine has not: skipped kindly at home, failed where everything has to be there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(what: str) -> NoReturn:
    """Skip, or fail where HEADRACE_CI (or CI) is set."""
    if os.environ.get("CI") or os.environ.get("HEADRACE_CI"):
        pytest.fail(f"not on this machine: {what}")
    pytest.skip(f"not on this machine: {what}")
