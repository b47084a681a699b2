"""Processes of ours without the seconds of CPU that their imports cost: forked from one that has made them.

    python -m tests.support.preloaded SOCKET

That one holds no thread, no connection and no setting. A request carries module, arguments, environment and directory
as JSON, and the three standard streams as file descriptors. The first answer is the process id, the second the exit
code. A test of the interpreter's own start (its encoding, a signal in its first moments) runs the program itself.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

COMMAND = "console.main"
MODULES = (COMMAND, "console.processes.worker", "console.processes.scheduler", "simulator.__main__")
"""What can be started: each has a function ``main`` without arguments, which reads ``sys.argv``."""

_LONGEST = 4 << 20
_WITHIN_S = 60.0


class Process:
    """One process that was forked, with what tests use of :class:`subprocess.Popen`."""

    def __init__(self, line: socket.socket, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code (negative: the signal that ended it)."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self.returncode = int(self._line.recv(32))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0) from None
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless its end was seen."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Preloaded:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-preloaded-")
        self._socket = Path(self._folder.name) / "socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.preloaded", self._socket],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the process with the imports did not start"

    def start(
        self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, streams: Sequence[IO[bytes]]
    ) -> Process:
        """Start one of :data:`MODULES`; ``streams`` are its standard input, output and error."""
        facts = {"module": module, "arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(_WITHIN_S)
        line.connect(str(self._socket))
        socket.send_fds(line, [json.dumps(facts).encode()], [stream.fileno() for stream in streams])
        return Process(line, int(line.recv(32)))

    def run(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: bytes = b""
    ) -> tuple[int, bytes, bytes]:
        """Run ``headrace`` to its end: exit code, standard output, standard error."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            process = self.start(COMMAND, arguments, env=env, cwd=cwd, streams=(given, out, err))
            try:
                code = process.wait(_WITHIN_S)
            finally:
                process.kill()
            return code, _whole(out), _whole(err)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(_WITHIN_S)
        self._folder.cleanup()


@cache
def preloaded() -> Preloaded:
    """The one of this test process."""
    process = Preloaded()
    atexit.register(process.close)
    return process


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def serve(path: str) -> NoReturn:
    """Make the imports, then fork one child a request, until told to end."""
    mains = {name: importlib.import_module(name).main for name in MODULES}
    for command in importlib.import_module("console.command_line").COMMANDS.values():
        importlib.import_module(command.module)
    importlib.import_module("router.tokens").count_o200k([""])  # its vocabulary takes a second
    gc.freeze()  # so that children share these pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps those that wait for the others
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(path)
        door.listen(8)
        print("ready", flush=True)
        while True:
            line, _ = door.accept()
            with line:
                if os.fork() == 0:
                    door.close()
                    _serve_one(line, mains)


def _serve_one(line: socket.socket, mains: Mapping[str, Callable[[], int]]) -> NoReturn:
    """In a child: start the process that is asked for, say its id, wait for its end, say its code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, _, _ = socket.recv_fds(line, _LONGEST, 3)
    request = json.loads(message)
    process = os.fork()
    if process == 0:
        line.close()
        with _ended():
            _become(request, files)
            sys.exit(mains[request["module"]]())
    for file in files:
        os.close(file)
    with contextlib.suppress(BrokenPipeError):  # a test that does not wait for it
        line.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: Mapping[str, object], files: Sequence[int]) -> None:
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]
    sys.argv = ["headrace", *request["arguments"]]  # type: ignore[misc]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w")), encoding="utf-8", line_buffering=True)


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """End the process as the interpreter would: with the code of ``sys.exit``, or a traceback and 1."""
    code = 1
    try:
        yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
