"""Servers and keepers that an earlier life left behind.

They are known by their command lines, which name this very directory, and not by remembered process numbers, which
the system may have given to strangers since.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from console.services.place import Place

_PATIENCE_S = 5.0  # for each signal


def end_all(place: Place) -> None:
    """End whatever of ours still runs for this place. Call it when no keeper is in office."""
    # Keepers first: they would start the servers again.
    _end(lambda words: words[-2:] == ["console.services.keeper", str(place.directory)])
    _end(lambda words: "console.simulator" in words and str(place.port_file) in words)
    end_housed(place)


def end_housed(place: Place) -> None:
    """End the servers whose files are in the place's home. Call it when no keeper runs them."""
    clusters = (str(place.cluster), f"{place.home}/new-")  # the latter: one that is being made
    _end(
        lambda words: (
            Path(words[0]).name in ("postgres", "initdb")
            and any(word.removeprefix("--pgdata=").startswith(clusters) for word in words)
        ),
        first=signal.SIGQUIT,  # an immediate shutdown: a fast one can hang while Postgres recovers from a crash
    )
    _end(lambda words: Path(words[0]).name == "valkey-server" and str(place.valkey_socket) in words)


def _end(is_meant: Callable[[list[str]], bool], *, first: int = signal.SIGKILL) -> None:
    found = [process for process in psutil.process_iter() if (words := _command_line(process)) and is_meant(words)]
    for number in (first, signal.SIGKILL):
        for process in found:
            _send(process, number)
        deadline = time.monotonic() + _PATIENCE_S
        while not all(_is_gone(process) for process in found):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # gone, a corpse, or not ours to see


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil compares start times, so a number given anew is safe
    except psutil.Error:
        return


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True
