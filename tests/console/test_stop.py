"""A process that is told to stop hears it, at whatever instant, and its children do too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from console.processes.stop import TOLD_TWICE, StopRequests
from console.processes.supervisor import Processes
from tests.support.fleet import Fleet, eventually

# The signal comes while the main thread holds the lock of the event that it waits for, as `Event.wait` does at its
# beginning and at its end. raise_signal() runs the handler before it returns.
IN_WAIT = """
import importlib, signal, sys, threading, types

class Caught(threading.Event):
    is_over = False

    def wait(self, timeout=None):
        if threading.current_thread() is threading.main_thread() and not Caught.is_over:
            Caught.is_over = True
            with self._cond:
                signal.raise_signal(signal.SIGTERM)
        return super().wait(timeout)

process = importlib.import_module("{module}")
process.threading = types.SimpleNamespace(**vars(threading) | {{"Event": Caught}})
code = process.main([])
assert Caught.is_over
sys.exit(code)
"""
TWICE_IN_WAIT = """
import signal, threading
from console.processes.stop import StopRequests

stopping = threading.Event()
StopRequests(stopping.set).start()
with stopping._cond:
    signal.raise_signal(signal.SIGTERM)
stopping.wait()
with stopping._cond:
    signal.raise_signal(signal.SIGTERM)
    threading.Event().wait()
"""
PATIENT = "import signal; print('ready', flush=True); signal.pause()"


@pytest.mark.parametrize("name", ["worker", "scheduler"])
def test_a_signal_that_comes_inside_the_wait_for_it_is_heard(name: str, fleet: Fleet) -> None:
    fleet.simulator()

    done = subprocess.run(
        [sys.executable, "-c", IN_WAIT.format(module=f"console.processes.{name}")],
        env=fleet.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert f"{name}.stopped" in done.stderr


def test_a_second_signal_ends_at_once_whatever_locks_are_held() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE_IN_WAIT], timeout=120, check=False)

    assert done.returncode == TOLD_TWICE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_block_hears_a_signal_and_gives_it_back(number: signal.Signals) -> None:
    before, stopping = signal.getsignal(number), threading.Event()

    with StopRequests(stopping.set):
        during = signal.getsignal(number)
        signal.raise_signal(number)
        assert stopping.wait(20)

    assert during != before
    assert signal.getsignal(number) == before


def test_the_loss_of_the_parent_is_the_first_request() -> None:
    told: list[str] = []
    stopping = threading.Event()

    def first() -> None:
        told.append("first")
        stopping.set()

    with StopRequests(first, parent=os.getppid() + 1, orphaned=lambda: told.append("orphaned")):
        assert stopping.wait(20)

    assert told == ["orphaned", "first"]


def test_a_child_of_a_process_that_listens_hears_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with StopRequests(lambda: None), Processes(dict(os.environ), logs=tmp_path) as children:
        children.start("child", [sys.executable, "-c", PATIENT])
        eventually(lambda: log.exists() and "ready" in log.read_text())
        status = Path(f"/proc/{children.pids()['child']}/status").read_text()
        children.drain()
        code = children.serve()

    (blocked,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
    assert int(blocked, 16) == 0
    assert code == 0
