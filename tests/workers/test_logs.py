"""A log that cannot be written ends nothing."""

from __future__ import annotations

import io
import logging
import sys

import pytest
import structlog

from settings import Settings
from workers.logs import configure_logs


class Full(io.StringIO):
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_full_disk_below_the_log_raises_nothing(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logs(Settings(log_format=form))
        log = structlog.get_logger("a test").bind()
        log.warning("anything", value="\ud800")
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.exception("anything.else")
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
