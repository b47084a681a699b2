"""Servers and supervisors that an earlier run left behind.

They are recognised by their command lines, which name this very directory, and not by remembered process numbers, which
the system may have given to other programs since.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from embedded.paths import Paths

_PATIENCE_S = 5.0  # until force is used


def end_all(place: Paths) -> None:
    """End every leftover process of ours for this place. Call it when no supervisor runs."""
    _end(lambda words: _signal_for_unhoused(words, place) or _signal_for_housed(words, place))


def end_housed(place: Paths) -> None:
    """End the servers whose files are in the place's home. Call it when no supervisor runs them."""
    _end(lambda words: _signal_for_housed(words, place))


def _signal_for_unhoused(words: list[str], place: Paths) -> int | None:
    is_supervisor = words[-2:] == ["embedded.supervisor", str(place.directory)]
    is_simulator = "simulator" in words and str(place.port_file) in words
    return signal.SIGKILL if is_supervisor or is_simulator else None


def _signal_for_housed(words: list[str], place: Paths) -> int | None:
    program = Path(words[0]).name
    if program == "valkey-server" and str(place.valkey_socket) in words:
        return signal.SIGKILL
    clusters = (str(place.cluster), f"{place.home}/new-")  # the latter: one that is being made
    named = [word.removeprefix("--pgdata=") for word in words]
    if program in ("postgres", "initdb") and any(word.startswith(clusters) for word in named):
        return signal.SIGQUIT  # an immediate shutdown, because a fast one can hang while Postgres recovers from a crash
    return None


def _end(signal_for: Callable[[list[str]], int | None]) -> None:
    found = []
    for process in psutil.process_iter():
        words = _command_line(process)
        if words and (number := signal_for(words)):
            found.append(process)
            _send(process, number)
    if found and not _are_gone(found):
        for process in found:
            _send(process, signal.SIGKILL)
        _are_gone(found)


def _are_gone(processes: list[psutil.Process]) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while not all(_is_gone(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it has ended, is a zombie, or is not visible to us


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil compares start times, so a reused number is safe
    except psutil.Error:
        return


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
