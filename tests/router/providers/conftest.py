"""Servers for the adapters: one that answers as told over real HTTP, one that misbehaves on the bare wire."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest

from router.providers.anthropic_messages import AnthropicMessages
from router.providers.calls import CallRequest, Message
from router.providers.openai_responses import OpenAIResponses

PLATFORM_KEY = "sk-platform-0123456789abcdef"
OWN_KEY = "sk-tenants-own-fedcba9876543210"
ADAPTERS = {"openai": OpenAIResponses, "anthropic": AnthropicMessages}


@dataclass
class Told:
    """What the server answers, and what it was asked: ``requests`` of ``(path, headers, body)``."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        self.body, self.status = body, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def last_headers(self) -> dict[str, str]:
        return self.requests[-1][1]

    @property
    def last_body(self) -> dict[str, Any]:
        return self.requests[-1][2]


@pytest.fixture
def told() -> Iterator[Told]:
    """A provider that answers every request as it was told last."""
    with told_server() as told:
        yield told


@contextmanager
def told_server() -> Iterator[Told]:
    """The same for as many tests as share it."""
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: each answer would take 40 ms

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.requests.append((self.path, headers, json.loads(asked)))
            body = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
            self.send_response(told.status)
            for name, value in {"content-type": "application/json", **told.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass  # the client has gone, as some tests mean it to

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    server.server_close()


@dataclass
class WireServer:
    """A server on the bare wire. ``through`` is set when it got to the end of what it meant to do on a connection."""

    port: int
    through: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def wire() -> Iterator[Callable[..., WireServer]]:
    """Start a server that does ``behave(connection, stopped)`` on each connection, until the test ends."""
    stopped = threading.Event()
    listeners: list[socket.socket] = []

    def start(behave: Callable[[socket.socket, threading.Event], None], receive_buffer: int | None = None):
        listener = socket.socket()
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listeners.append(listener)
        server = WireServer(listener.getsockname()[1], threading.Event())

        def converse(connection: socket.socket) -> None:
            try:
                behave(connection, stopped)
                if not stopped.is_set():
                    server.through.set()
            except OSError:
                pass  # the client has gone
            finally:
                connection.close()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return server

    yield start
    stopped.set()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider in turn."""
    return str(request.param)


@pytest.fixture
def adapter_to() -> Callable[[str, str], Any]:
    """An adapter of a provider that talks to a server."""
    return build_adapter


def build_adapter(provider: str, url: str, **options: Any) -> Any:
    """An adapter of a provider that talks to a server."""
    return ADAPTERS[provider](PLATFORM_KEY, f"{url}/v1" if provider == "openai" else url, **options)


@pytest.fixture
def ask() -> Callable[..., CallRequest]:
    """A request like any other, save what the test says."""

    def make(**changes: Any) -> CallRequest:
        common: dict[str, Any] = {
            "run_id": UUID("0198c000-0000-7000-8000-000000000001"),
            "job_id": UUID("0198c000-0000-7000-8000-000000000002"),
            "tenant_id": "0198c000-0000-7000-8000-00000000000a",
            "end_user": "user-7",
            "feature": "chat",
            "model": "some-model",
            "messages": (Message("system", "Be brief."), Message("user", "How high is the weir?")),
            "max_output_tokens": 64,
            "output_schema": None,
            "timeout_s": 20.0,
        }
        return CallRequest(**(common | changes))

    return make


def openai_answer(text: str = "Two metres.", **changes: Any) -> dict[str, Any]:
    """A Responses object as OpenAI sends it."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    usage = {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 30},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 170,
    }
    answer = {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-6-luna-2026-05-01",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [{"id": "rs_1", "type": "reasoning", "summary": []}, message],
        "usage": usage,
    }
    return answer | changes


def anthropic_answer(text: str = "Two metres.", **changes: Any) -> dict[str, Any]:
    """A Messages object as Anthropic sends it."""
    answer = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5-20260901",
        "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 20,
            "cache_read_input_tokens": 70,
            "cache_creation_input_tokens": 30,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 40},
        },
    }
    return answer | changes


ANSWERS = {"openai": openai_answer, "anthropic": anthropic_answer}


@pytest.fixture
def an_answer(provider: str) -> Callable[..., dict[str, Any]]:
    """A good answer of the provider at hand."""
    return ANSWERS[provider]
