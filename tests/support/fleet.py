"""Real processes for a test: the simulator, workers, a scheduler; each started, watched and ended by its id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.preloaded import MODULES, Process, preloaded

Started = Process | subprocess.Popen[bytes]


@dataclass(frozen=True)
class Urls:
    """Where a test's own database and wire are."""

    app: str
    ops: str
    owner: str
    producer: str
    redis: str


def eventually(check: Callable[[], Any], *, within_s: float = 90.0, every_s: float = 0.05, why: str = "") -> Any:
    """The first truthy value of ``check``; fails when there is none in time."""
    give_up = time.monotonic() + within_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < give_up, f"never came true within {within_s} s: {why or check}"
        time.sleep(every_s)


class Fleet:
    """Processes of one test; all are ended with it."""

    def __init__(self, urls: Urls, directory: Path) -> None:
        self.directory = directory
        self.urls = urls
        self.processes: dict[str, Started] = {}
        self.simulator_url = ""
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "HEADRACE_DATABASE_URL": urls.app,
            "HEADRACE_OPS_DATABASE_URL": urls.ops,
            "HEADRACE_REDIS_URL": urls.redis,
            "HEADRACE_RETRY_BASE_S": "0.1",
            "HEADRACE_HEARTBEAT_S": "0.5",
            "HEADRACE_WORKER_SILENT_S": "2",
        }

    def start(self, name: str, module: str, *arguments: str, **env: str) -> Started:
        """Start ``python -m module``; its output goes to a file of that name.

        Ours are forked from a process that has made their imports, which take seconds.
        """
        environment = {**self.env, **env}
        process: Started
        with (self.directory / f"{name}.log").open("ab") as out, Path(os.devnull).open("rb") as nothing:
            if module in MODULES:
                process = preloaded().start(
                    module, arguments, env=environment, cwd=Path.cwd(), streams=(nothing, out, out)
                )
            else:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments],
                    env=environment,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
        self.processes[name] = process
        return process

    def simulator(self, **behaviour: dict[str, Any]) -> None:
        """Start the simulator and lead the workers to it."""
        port_file = self.directory / "port"
        port_file.unlink(missing_ok=True)
        process = self.start(
            "simulator", "simulator.__main__", "--port", "0", "--port-file", str(port_file), "--seed", "7"
        )
        eventually(lambda: port_file.exists() or process.poll() is not None, why="the simulator listens")
        assert process.poll() is None, self.log("simulator")
        port = port_file.read_text().strip()
        self.simulator_url = f"http://127.0.0.1:{port}"
        self.env |= {
            "OPENAI_API_KEY": "sim-openai",
            "ANTHROPIC_API_KEY": "sim-anthropic",
            "HEADRACE_OPENAI_BASE_URL": f"{self.simulator_url}/v1",
            "HEADRACE_ANTHROPIC_BASE_URL": self.simulator_url,
        }
        if behaviour:
            self.behave(**behaviour)

    def behave(self, **behaviour: dict[str, Any]) -> None:
        """Set the simulator's behaviour, by provider."""
        self._http("PUT", "/_sim/behaviour", behaviour)

    def journal(self) -> list[dict[str, Any]]:
        """Every call that the simulator answered or cut."""
        return list(self._http("GET", "/_sim/journal"))

    def worker(self, name: str = "worker", *, threads: int = 8, **env: str) -> Started:
        """Start a worker process and wait until it takes turns."""
        already = self.log(name).count("worker.ready")
        process = self.start(name, "console.processes.worker", "--threads", str(threads), **env)
        eventually(
            lambda: self.log(name).count("worker.ready") > already or process.poll() is not None, why="worker.ready"
        )
        assert process.poll() is None, self.log(name)
        return process

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        file = self.directory / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def end(self, name: str, *, with_signal: signal.Signals = signal.SIGTERM, within_s: float = 40.0) -> int:
        """End one process and wait for it; its exit code."""
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(with_signal)
        return process.wait(within_s)

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait(10)

    def _http(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.simulator_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None
