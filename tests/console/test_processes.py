"""Child processes that are kept up: restarted when they die, drained when told, killed when told twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from console.processes import supervisor as module
from console.processes.stop import TOLD_TWICE
from console.processes.supervisor import CANNOT_START, Processes, python
from errors import ServiceError
from tests.support.fleet import eventually

# Each writes a line when it is ready, so that a test knows that its signal handlers are in place.
OBEDIENT = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True: signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("told", flush=True))
print("ready", flush=True)
while True: signal.pause()
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    before = psutil.Process().children()  # servers that other tests share
    yield tmp_path
    left = [one for one in psutil.Process().children() if one not in before and one.status() != psutil.STATUS_ZOMBIE]
    assert not left, "a child is left"


@pytest.fixture
def children(log: Path) -> Iterator[Processes]:
    with Processes(dict(os.environ), patience_s=20, logs=log) as found:
        yield found


def count(log: Path, name: str, word: str = "ready") -> int:
    file = log / f"{name}.log"
    return file.read_text().count(word) if file.exists() else 0


class Serving:
    """``serve()`` in this thread, while another one does things to it."""

    def __init__(self, children: Processes, *steps) -> None:
        self._steps = steps
        thread = threading.Thread(target=self._act)
        thread.start()
        self.code = children.serve()
        thread.join()

    def _act(self) -> None:
        for step in self._steps:
            step()


def told() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_child_that_is_killed_is_started_again_and_all_are_drained(children: Processes, log: Path) -> None:
    for name in ("a", "b"):
        children.start(name, program(OBEDIENT))
    before: dict[str, int] = {}

    def kill_one() -> None:
        eventually(lambda: count(log, "a") == count(log, "b") == 1)
        before.update(children.pids())
        os.kill(before["a"], signal.SIGKILL)
        eventually(lambda: count(log, "a") == 2)
        after = children.pids()
        assert after["a"] != before["a"]
        assert after["b"] == before["b"]

    serving = Serving(children, kill_one, told)

    assert serving.code == 0
    assert children.pids() == {}


def test_pauses_grow_and_begin_anew_after_a_long_life(
    children: Processes, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.04)
    for healthy_after_s, expected in ((1000.0, [0.01, 0.02, 0.04, 0.04]), (0.0, [0.01, 0.01, 0.01, 0.01])):
        monkeypatch.setattr(module, "_HEALTHY_AFTER_S", healthy_after_s)
        with capture_logs() as events, Processes(dict(os.environ), logs=log) as mortal:
            mortal.start("mortal", program("raise SystemExit(7)"))
            died = eventually(lambda: [one for one in events if one["event"] == "process.died"][3:] and events)

        pauses = [(one["code"], one["restart_in_s"]) for one in died if one["event"] == "process.died"]
        assert pauses[:4] == [(7, pause_s) for pause_s in expected]


def test_a_child_that_cannot_start_ends_all(children: Processes, log: Path) -> None:
    children.start("fine", program(OBEDIENT))
    eventually(lambda: count(log, "fine"))
    children.start("lost", program(f"raise SystemExit({CANNOT_START})"))

    assert children.serve() == CANNOT_START
    assert children.pids() == {}
    with pytest.raises(ServiceError, match="lost could not start"):
        children.check()


def test_a_program_that_is_not_there_is_tried_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    with capture_logs() as events, Processes({}) as children:
        children.start("nothing", [str(log / "nothing")])
        eventually(lambda: sum(one["event"] == "process.not_started" for one in events) >= 2)


def test_told_twice_it_kills(children: Processes, log: Path) -> None:
    children.start("stubborn", program(STUBBORN))

    serving = Serving(
        children,
        lambda: eventually(lambda: count(log, "stubborn")),
        told,
        lambda: eventually(lambda: count(log, "stubborn", "told")),
        told,
    )

    assert serving.code == TOLD_TWICE
    assert children.pids() == {}


def test_a_drain_that_takes_too_long_ends_all_the_same(log: Path) -> None:
    with Processes(dict(os.environ), patience_s=0.2, logs=log) as children:
        children.start("stubborn", program(STUBBORN))
        serving = Serving(children, lambda: eventually(lambda: count(log, "stubborn")), told)

    assert serving.code == 1


def test_leaving_the_block_drains(log: Path) -> None:
    with Processes(dict(os.environ), logs=log) as children:
        children.start("a", program(OBEDIENT))
        eventually(lambda: count(log, "a"))
        pid = children.pids()["a"]

    assert not psutil.pid_exists(pid)


def test_the_loss_of_its_parent_is_a_reason_to_drain(children: Processes, log: Path) -> None:
    children.start("a", program(OBEDIENT))
    eventually(lambda: count(log, "a"))

    assert children.serve(parent=os.getppid() + 1) == 0


def test_our_modules_are_ours_wherever_a_command_is_called(log: Path) -> None:
    (log / "settings.py").write_text("raise SystemExit('not ours')")
    (log / "workers").mkdir()
    command = python("console.processes.worker", "--help")

    assert command[-2:] == ["--parent", str(os.getpid())]
    process = psutil.Popen(command, cwd=log, stdout=-1)
    assert process.wait(30) == 0
    assert b"One Headrace worker process" in process.stdout.read()
    process.stdout.close()
