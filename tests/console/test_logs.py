"""A log that cannot be written ends nothing; lines of JSON are whole, bounded, and of one form from every writer."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from console.processes.logs import LIBRARY_EVENT, LONGEST_LINE, LineStream, as_line, configure_logs
from settings import Settings


class Full(io.StringIO):
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.fixture
def as_before() -> Iterator[None]:
    """Logging is what it was when the test is over."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_full_disk_below_the_log_raises_nothing(form: str, monkeypatch: pytest.MonkeyPatch, as_before: None) -> None:
    monkeypatch.setattr(sys, "stderr", Full())
    configure_logs(Settings(log_format=form))
    log = structlog.get_logger("a test").bind()
    log.warning("anything", value="\ud800")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("anything.else")


def test_a_descriptor_that_is_gone_raises_nothing(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w", encoding="utf-8") as file:
        stream = LineStream(file)
    stream.write("anything\n")


# ------------------------------------------------------------------------------------------- lines of other libraries


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, as_before: None) -> Any:
    """What has been logged since the test began, read as JSON."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logs(Settings(log_format="json"))
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_librarys_line_has_an_event_name_of_its_own(lines: Any) -> None:
    for name in (
        "httpx2",
        "openai._base_client",
        "anthropic",
        "dramatiq.worker.WorkerThread",
        "redis",
        "psycopg.pool",
    ):
        logging.getLogger(name).warning("could not reach %s", "amqp://guest:secret@rabbit:5672/")
    logging.getLogger("urllib3").info("not shown")

    told = lines()
    assert [line["event"] for line in told] == [LIBRARY_EVENT] * 6
    assert [line["library"] for line in told] == ["httpx2", "openai", "anthropic", "dramatiq", "redis", "psycopg"]
    assert told[3]["logger"] == "dramatiq.worker.WorkerThread"
    assert {line["message"] for line in told} == {"could not reach amqp://[login]@rabbit:5672/"}
    assert all(line["level"] == "warning" and line["timestamp"].endswith("Z") for line in told)


def test_a_librarys_traceback_is_text(lines: Any) -> None:
    try:
        raise ValueError("of postgresql://ada:secret@server/db")
    except ValueError:
        logging.getLogger("dramatiq").exception("it failed")
        structlog.get_logger("ours").exception("job.fault")

    for line in lines():
        assert line["exception"].startswith("Traceback (most recent call last)")
        assert line["exception"].endswith("ValueError: of postgresql://[login]@server/db")
        assert "<traceback object" not in json.dumps(line)


def test_a_warning_of_python_and_a_line_that_does_not_fit_its_arguments_are_lines_too(lines: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old and in the way", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    logging.getLogger("dramatiq").error("two %s of %d", "things")

    warned, odd = lines()
    assert (warned["event"], warned["logger"]) == (LIBRARY_EVENT, "py.warnings")
    assert "DeprecationWarning: old and in the way" in warned["message"]
    assert odd["message"] == "two %s of %d"


# ------------------------------------------------------------------------------------------------ whole lines, bounded


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["event", "timestamp", "level", "exception", "error", "more"]),
        st.text(st.characters()).map(lambda text: text * 300) | st.integers() | st.floats() | st.lists(st.integers()),
    )
)
def test_every_line_is_json_that_fits(facts: dict[str, Any]) -> None:
    line = as_line(None, "info", facts)

    assert len((line + "\n").encode()) <= LONGEST_LINE
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_what_is_cut_is_the_longest_and_a_traceback_keeps_its_end() -> None:
    trace = "Traceback (most recent call last):\n" + "  File x, line y\n" * 2_000 + "ValueError: the reason"
    told = json.loads(as_line(None, "error", {"event": "job.fault", "job_id": "j" * 36, "exception": trace}))

    assert (told["event"], told["job_id"]) == ("job.fault", "j" * 36)
    assert told["exception"].startswith("Traceback") and told["exception"].endswith("ValueError: the reason")
    assert "characters cut" in told["exception"] and len(told["exception"]) > 2_500

    many = json.loads(as_line(None, "error", {"event": "e", **{f"field_{n}": n for n in range(1_000)}}))
    assert many == {"timestamp": "None", "level": "None", "event": "e", "cut": True}


UNCAUGHT = """
import threading
from settings import Settings
from console.processes.logs import configure_logs, log_uncaught
configure_logs(Settings(log_format="json"))
log_uncaught()
thread = threading.Thread(target=lambda: 1 / 0, name="chores: hints")
thread.start()
thread.join()
raise ValueError("in many\\npieces")
"""


def test_what_ends_a_thread_or_the_process_is_a_line_too() -> None:
    ended = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 1
    of_thread, of_process = (json.loads(line) for line in ended.stderr.splitlines())
    assert (of_thread["event"], of_thread["level"], of_thread["thread"]) == (
        "process.fault",
        "critical",
        "chores: hints",
    )
    assert of_thread["exception"].endswith("ZeroDivisionError: division by zero")
    assert of_process["exception"].endswith("ValueError: in many\npieces")


WRITER = """
import logging, sys, threading, structlog
from settings import Settings
from console.processes.logs import configure_logs
configure_logs(Settings(log_format="json"))
log, library = structlog.get_logger("a test"), logging.getLogger("dramatiq.test")
start = threading.Barrier(6)
def write(number):
    start.wait()
    for n in range(150):
        log.warning("anything", writer=number, n=n, text="x" * (n * 97 % 6000))
        library.warning("something %s", "y" * (n * 31 % 6000))
threads = [threading.Thread(target=write, args=[number]) for number in range(6)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_processes_and_threads_that_share_a_pipe_tear_no_line() -> None:
    ours, theirs = os.pipe()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)
        for _ in range(2)
    ]
    os.close(theirs)
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    with os.fdopen(ours, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    for writer in writers:
        assert writer.wait(timeout=60) == 0
        assert writer.stdout is not None
        writer.stdout.close()

    assert len(told) == 2 * 6 * 150 * 2
    assert {line["event"] for line in told} == {"anything", LIBRARY_EVENT}
