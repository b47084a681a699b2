"""The peers' job: does nothing, or sleeps, and tells the benchmark when it began and ended.

Imported by the peers' worker processes. The report is one datagram, some µs, so that it costs every peer the same.
"""

from __future__ import annotations

import os
import socket
import struct
import time

REPORT_TO = "BENCH_REPORT_TO"
"""Environment variable: path of the Unix datagram socket to which jobs report."""

REPORT = struct.Struct("<qiqq")  # number, process, began and ended in ns since the epoch

_sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


def run(number: int, sleep_ms: int) -> None:
    """Job number ``number``."""
    began = time.time_ns()
    if sleep_ms:
        time.sleep(sleep_ms / 1000)
    _sender.sendto(REPORT.pack(number, os.getpid(), began, time.time_ns()), os.environ[REPORT_TO])
