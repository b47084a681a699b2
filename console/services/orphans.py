"""Servers and keepers that an earlier life left behind.

They are known by their command lines, which name this very directory, and not by remembered process numbers, which
the system may have given to strangers since.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

from console.services.place import Place

_PATIENCE_S = 5.0  # for each signal
_POLITE_FIRST = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # Postgres: fast, immediate, by force


def end_all(place: Place) -> None:
    """End whatever of ours still runs for this place. Call it when no keeper is in office."""
    found = [process for process in psutil.process_iter() if _is_ours(process, place)]
    # Keepers first and by force: they would start the servers again.
    for process in found:
        if _is_keeper(_command_line(process), place.directory):
            _send(process, signal.SIGKILL)
    for number in _POLITE_FIRST:
        for process in found:
            _send(process, number)
        deadline = time.monotonic() + _PATIENCE_S
        while any(not _is_gone(process) for process in found):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return


def _is_ours(process: psutil.Process, place: Place) -> bool:
    words = _command_line(process)
    if not words:
        return False
    program = Path(words[0]).name
    return (
        (program == "postgres" and words[1:3] == ["-D", str(place.cluster)])
        or (program == "valkey-server" and str(place.valkey_socket) in words)
        or ("console.simulator" in words and str(place.port_file) in words)
        or _is_keeper(words, place.directory)
    )


def _is_keeper(words: list[str], directory: Path) -> bool:
    return words[-2:] == ["console.services.keeper", str(directory)]


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
