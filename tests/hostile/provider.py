"""A provider for a hostile tenant: it answers everybody well, and a request that names an oddity with that oddity.

    python -m tests.hostile.provider --port-file FILE

It speaks OpenAI's Responses and Anthropic's Messages, over plain HTTP on loopback. A request whose text holds
``ODD:name`` gets that answer; every other one gets a sound answer after the usual time. ``GET /fetched`` counts the
documents that something fetched from here, which nothing ever should.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

USUAL_S: Final = 0.1
#: A server that never stops sending is bounded here, so that a client without a bound cannot fill the machine.
MOST_BYTES: Final = 400_000_000
_CHUNK: Final = b"x" * 65_536
_ODD = re.compile(rb"ODD:([a-z_0-9]+)")

Odd = Callable[["Handler", bool], None]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    fetched = 0

    def do_GET(self) -> None:
        if self.path == "/fetched":
            self.say(json.dumps(Handler.fetched).encode())
            return
        Handler.fetched += 1
        self.say(b'{"type": "string", "description": "a secret of the inner network"}')

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        is_openai = self.path.endswith("/responses")
        odd = _ODD.search(asked)
        if odd is None:
            time.sleep(USUAL_S)
            self.say(_answer(is_openai, "It is two metres."))
        else:
            ODDITIES[odd[1].decode()](self, is_openai)

    def say(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _answer(is_openai: bool, text: str, usage: str | None = None) -> bytes:
    """An answer of the API; ``usage`` is JSON as it is to stand there."""
    if is_openai:
        used = usage or '{"input_tokens": 40, "output_tokens": 10}'
        message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        body: dict[str, Any] = {"id": "resp_1", "model": "m", "status": "completed", "output": [message]}
    else:
        used = usage or '{"input_tokens": 40, "output_tokens": 10}'
        content = [{"type": "text", "text": text}]
        body = {"id": "msg_1", "type": "message", "model": "m", "content": content, "stop_reason": "end_turn"}
    return json.dumps(body)[:-1].encode() + b', "usage": ' + used.encode() + b"}"


def _text(text: str) -> Odd:
    def say(handler: Handler, is_openai: bool) -> None:
        time.sleep(USUAL_S)
        handler.say(_answer(is_openai, text))

    return say


def _usage(openai: str, anthropic: str) -> Odd:
    def say(handler: Handler, is_openai: bool) -> None:
        time.sleep(USUAL_S)
        handler.say(_answer(is_openai, "It is two metres.", openai if is_openai else anthropic))

    return say


def _raw(body: bytes, status: int = 200, **headers: str) -> Odd:
    return lambda handler: handler.say(body, status, **headers)


def _endless(handler: Handler, _: bool) -> None:
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.close_connection = True
    with contextlib.suppress(OSError):
        for _sent in range(0, MOST_BYTES, len(_CHUNK)):
            handler.wfile.write(_CHUNK)


def _bomb() -> bytes:
    """100 MB in 100 kB: made once, before the first request, and never held unpacked."""
    packed = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    pieces = [b'{"x": "', *[b" " * 1_000_000] * 100, b'"}']
    return b"".join([*map(packed.compress, pieces), packed.flush()])


BOMB: Final = _bomb()


def _gzip_bomb(handler: Handler, _: bool) -> None:
    handler.say(BOMB, content_encoding="gzip")


def _hang(_handler: Handler, _: bool) -> None:
    time.sleep(60)


ODDITIES: Final[dict[str, Odd]] = {
    "endless": _endless,
    "gzip_bomb": _gzip_bomb,
    "long_text": _text("x" * 30_000_000),
    "deep_500": _text("[" * 500 + "]" * 500),
    "deep_10000": _text("[" * 10_000 + "]" * 10_000),
    "deep_body": _raw(b'{"id": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    "long_number": _text('{"n": ' + "9" * 5_000 + "}"),
    "endless_number": _text('{"n": 1e5000}'),
    "not_a_number": _text('{"n": NaN}'),
    "forty_a": _text(json.dumps("a" * 40 + "!")),
    "objects": _text(json.dumps([{"n": n} for n in range(20_000)])),
    "cached_above_input": _usage(
        '{"input_tokens": 4, "input_tokens_details": {"cached_tokens": 4000}, "output_tokens": 1}',
        '{"input_tokens": 4, "cache_read_input_tokens": -1, "output_tokens": 1}',
    ),
    "tokens_3e9": _usage(*['{"input_tokens": 3000000000, "output_tokens": 3000000000}'] * 2),
    "tokens_1e8": _usage(*['{"input_tokens": 100000000, "output_tokens": 100000000}'] * 2),
    "tokens_of_5000_digits": _usage(*['{"input_tokens": ' + "9" * 5_000 + ', "output_tokens": 1}'] * 2),
    "tokens_null": _usage(*['{"input_tokens": null, "output_tokens": -4.5}'] * 2),
    "no_usage": _usage("null", "null"),
    "retry_after_1e13": _raw(b'{"error": {"message": "slow"}}', 429, retry_after="10000000000000"),
    "retry_after_time": _raw(b'{"error": {"message": "slow"}}', 429, retry_after="3571430400"),
    "nonsense": _raw(b"\xff\xfe\x00<html>"),
    "hang": _hang,
}


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is not worth a log line."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port-file", type=Path, required=True)
    given = parser.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    parent = os.getppid()

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    ready = given.port_file.with_suffix(".tmp")
    ready.write_text(str(server.server_address[1]))
    ready.rename(given.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
