"""A simulator in a process of its own, reset for each test, and the providers' own SDKs in front of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anthropic
import httpx2
import openai
import pytest

from router.policy import load_policy
from simulator.protocol.delivery import DeliveryPace
from simulator.server import SimulatorServer, bind

ROOT = Path(__file__).parents[2]
WITHIN_S = 20.0


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its controls."""

    port: int
    control: httpx2.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self, **providers: dict) -> dict:
        response = self.control.put("/_sim/behaviour", json=providers)
        assert response.status_code == 200, response.text
        return response.json()

    def journal(self, since: int = 0) -> list[dict]:
        return self.control.get("/_sim/journal", params={"since": since}).json()

    def journal_with(self, entries: int) -> list[dict]:
        """The journal, once it has so many entries: a call that a client gave up is written when the server notices."""
        deadline = time.monotonic() + WITHIN_S
        while len(found := self.journal()) < entries:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found

    def reset(self) -> None:
        fresh = {"fault": "none", "latency_ms": 0}
        self.behave(openai=fresh, anthropic=fresh)
        self.control.delete("/_sim/journal")


def start_process(folder: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """A simulator process and its port, once it listens."""
    port_file = folder / "port"
    process = subprocess.Popen([sys.executable, "-m", "simulator", "--port-file", str(port_file), *arguments], cwd=ROOT)
    deadline = time.monotonic() + WITHIN_S
    while not port_file.exists():
        assert process.poll() is None, "the simulator ended before it listened"
        assert time.monotonic() < deadline, "the simulator does not listen"
        time.sleep(0.01)
    return process, int(port_file.read_text())


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    process, port = start_process(tmp_path_factory.mktemp("simulator"), "--seed", "7")
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as control:
            yield Simulator(port, control)
    finally:
        process.terminate()
        process.wait(WITHIN_S)


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    simulator_process.reset()
    return simulator_process


@pytest.fixture(scope="session")
def openai_sdk(simulator_process: Simulator) -> openai.OpenAI:
    return openai.OpenAI(api_key="sim-openai", base_url=f"{simulator_process.url}/v1", max_retries=0)


@pytest.fixture(scope="session")
def anthropic_sdk(simulator_process: Simulator) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="sim-anthropic", base_url=simulator_process.url, max_retries=0)


@pytest.fixture
def ask_openai(simulator: Simulator, openai_sdk: openai.OpenAI) -> Callable[..., object]:
    """One Responses call with a default model and question."""

    def ask(question: object = "Where do rivers begin?", /, **fields):
        return openai_sdk.responses.create(**{"model": "gpt-5.4-mini", "input": question, **fields})

    return ask


@pytest.fixture
def ask_anthropic(simulator: Simulator, anthropic_sdk: anthropic.Anthropic) -> Callable[..., object]:
    """One Messages call with a default model, limit and question."""

    def ask(question: object = "Where do rivers begin?", /, **fields):
        messages = [{"role": "user", "content": question}]
        return anthropic_sdk.messages.create(
            **{"model": "claude-haiku-4-5", "max_tokens": 1_000, "messages": messages, **fields}
        )

    return ask


@contextmanager
def served(*, seed: int = 0, pace: DeliveryPace | None = None) -> Iterator[Simulator]:
    """A simulator in a thread of this process, for what cannot be told to one that runs on its own."""
    listens = threading.Event()
    bound = bind(0)
    server = SimulatorServer(bound, lambda _: listens.set(), seed=seed, pace=pace)
    thread = threading.Thread(target=server.run)
    port = bound.getsockname()[1]
    thread.start()
    try:
        assert listens.wait(WITHIN_S)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as control:
            yield Simulator(port, control)
    finally:
        server.should_exit = True
        thread.join(WITHIN_S)


@pytest.fixture
def serve_here() -> Callable[..., object]:
    """``served``, for tests that need another seed or pace."""
    return served


@pytest.fixture
def start_simulator(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], int]]]:
    """Starts simulator processes that end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        process, port = start_process(folder, *arguments)
        started.append(process)
        return process, port

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(WITHIN_S)


def shipped_models(provider: str) -> set[str]:
    """The models of a provider that the shipped routing policy names."""
    tiers = load_policy(None).tiers.values()
    return {
        target.model
        for tier in tiers
        for target in (tier.primary, tier.backup)
        if target and target.provider == provider
    }
