"""The demo, as a user runs it: in an empty directory, with an empty environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.fleet import eventually


@pytest.fixture
def somewhere(tmp_path: Path) -> dict[str, object]:
    """Where and how a command runs: its own directory, nothing set."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "160"}
    return {"cwd": tmp_path, "env": env, "stdin": subprocess.DEVNULL}


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_killed_demo_leaves_no_server_and_the_next_one_ends_well(
    somewhere: dict[str, object], tmp_path: Path
) -> None:
    demo = [sys.executable, "-m", "console.main", "demo"]
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        first = subprocess.Popen(demo, **somewhere, stdout=out, stderr=out)  # type: ignore[call-overload]
        eventually(lambda: b"jobs of 3 tenants" in log.read_bytes() or first.poll() is not None, within_s=180)
    assert first.poll() is None, log.read_text()
    started = psutil.Process(first.pid).children(recursive=True)
    assert len(started) >= 4, "the supervisor, its workers and the scheduler run"
    first.send_signal(signal.SIGKILL)
    first.wait(10)

    done = subprocess.run(demo, **somewhere, capture_output=True, text=True, timeout=170, check=False)  # type: ignore[call-overload]

    assert done.returncode == 0, done.stdout + done.stderr
    assert "The books agree to the last digit" in done.stdout
    for seen in ("← floods", "hard_feature", "code_block", "stopped by a cap", "Answered by the backup provider"):
        assert seen in done.stdout
    assert not [process for process in started if process.is_running() and process.status() != "zombie"]
    eventually(
        lambda: not [one for one in psutil.process_iter() if str(tmp_path) in _command_line(one)],
        why="no server of either demo is left",
    )


def test_with_a_real_key_it_asks_before_it_spends(somewhere: dict[str, object]) -> None:
    env = {**somewhere["env"], "OPENAI_API_KEY": "sk-not-a-key"}  # type: ignore[dict-item]
    done = subprocess.run(
        [sys.executable, "-m", "console.main", "demo"], **{**somewhere, "env": env},  # type: ignore[call-overload]
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "at most $0.75" in done.stdout
    assert "there is no terminal on which to ask" in done.stderr
    assert "sk-not-a-key" not in done.stdout + done.stderr
