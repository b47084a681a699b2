"""A stand-in for Stripe's meter events over real HTTP: it checks the shape as Stripe documents it, and may fail.

What it holds requests to: the path, form encoding, the key, a version since which meter events exist, the form of
each field, whole values of at most 15 digits, a known meter and customer, a time of the last 35 days, an identifier
that it has not had in the last 24 hours (by its own clock: it forgets older ones, as Stripe may), one call at a time
for a customer.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

KEY = "sk_test_nobody_may_see_this"
EVENT_NAME = "headrace_micro_usd"
FIELDS = {"event_name", "identifier", "timestamp", "payload[stripe_customer_id]", "payload[value]"}
FIRST_VERSION = "2025-03-31"
KNOWN_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Recorded:
    """One event that was counted."""

    identifier: str
    customer: str
    value: int
    timestamp: int
    at: datetime


@dataclass
class MeterServer:
    """What the server knows and how it behaves. ``faults`` are used up one a request; none: it answers well.

    Faults: ``500``, ``429`` and ``400`` (nothing is recorded), ``recorded_then_500``, ``cut`` (recorded, and the
    connection closed without an answer), ``dropped`` (closed before anything is recorded), ``drip`` (recorded; the
    answer never ends).
    """

    now: Callable[[], datetime]
    url: str = ""
    customers: set[str] = field(default_factory=set)
    faults: deque[str] = field(default_factory=deque)
    recorded: list[Recorded] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    answered: Counter[int] = field(default_factory=Counter)
    retry_after_s: int = 7
    says: tuple[int, bytes] | None = None  # this, whatever is asked
    delay: Callable[[], None] = lambda: None
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: set[str] = field(default_factory=set)

    def total(self, customer: str) -> int:
        """The sum of a customer's values."""
        return sum(one.value for one in self.recorded if one.customer == customer)

    def refusal(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is refused: status and message; None if it is not."""
        if headers.get("authorization") != f"Bearer {KEY}":
            return 401, f"Invalid API Key provided: {headers.get('authorization', '')}"
        if headers.get("content-type") != "application/x-www-form-urlencoded":
            return 400, "the body has to be form-encoded"
        version = headers.get("stripe-version", "")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d(\.\w+)?", version) or version < FIRST_VERSION:
            return 400, f"no such version: {version}"
        if set(form) - FIELDS:
            return 400, f"Received unknown parameters: {sorted(set(form) - FIELDS)}"
        if FIELDS - set(form):
            return 400, f"Missing required param: {sorted(FIELDS - set(form))}"
        if form["event_name"] != EVENT_NAME:
            return 400, f"No active meter found for event name {form['event_name']}"
        if form["payload[stripe_customer_id]"] not in self.customers:
            return 400, f"No such customer: {form['payload[stripe_customer_id]']}"
        if not re.fullmatch(r"-?\d+", form["payload[value]"], re.ASCII):
            return 400, "The value in the event payload has to be a whole number"
        if len(form["payload[value]"].lstrip("-0")) > 15:
            return 400, "The value in the event payload can have at most 15 digits"
        if not 1 <= len(form["identifier"]) <= 100:
            return 400, "Invalid string: identifier"
        if not re.fullmatch(r"\d+", form["timestamp"], re.ASCII):
            return 400, "Invalid timestamp"
        now = self.now().timestamp()
        if int(form["timestamp"]) < now - 35 * 86400:
            return 400, "The event timestamp cannot be more than 35 days in past."
        if int(form["timestamp"]) > now + 300:
            return 400, "The event timestamp cannot be more than 5 minutes in the future."
        return None

    def record(self, form: dict[str, str]) -> tuple[int, str] | None:
        """Count an event, unless its identifier is known: then that refusal."""
        with self._lock:
            identifier, now = form["identifier"], self.now()
            if any(one.identifier == identifier and one.at > now - KNOWN_FOR for one in self.recorded):
                return 400, f"An event already exists with identifier {identifier}."
            customer, value = form["payload[stripe_customer_id]"], int(form["payload[value]"])
            self.recorded.append(Recorded(identifier, customer, value, int(form["timestamp"]), now))
            return None

    @contextmanager
    def alone(self, customer: str) -> Iterator[bool]:
        """Whether no other call for the customer is under way."""
        with self._lock:
            free = customer not in self._busy
            self._busy.add(customer)
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    self._busy.discard(customer)


@contextmanager
def meter_server(now: Callable[[], datetime], *customers: str) -> Iterator[MeterServer]:
    """A running server, on a free port of this machine."""
    meter = MeterServer(now, customers=set(customers))
    server = _Server(("127.0.0.1", 0), _handler(meter))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    meter.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield meter
    finally:
        meter.stopped.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(meter: MeterServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
            form = dict(pairs)
            assert len(form) == len(pairs), "a field was sent twice"
            meter.asked.append((self.path, headers, form))
            fault = meter.faults.popleft() if meter.faults else ""
            if meter.says is not None:
                self.send(*meter.says, {})
            elif self.path != "/v1/billing/meter_events":
                self.refuse(404, f"Unrecognized request URL (POST: {self.path})")
            elif fault == "500":
                self.refuse(500, "An error occurred with our servers.")
            elif fault == "429":
                self.refuse(429, "Too many requests", {"Retry-After": str(meter.retry_after_s)})
            elif fault == "400":
                self.refuse(400, "Something is wrong with it")
            elif fault == "dropped":
                self.hang_up()
            else:
                self.take(form, headers, fault)

        def take(self, form: dict[str, str], headers: dict[str, str], fault: str) -> None:
            with meter.alone(form.get("payload[stripe_customer_id]", "")) as alone:
                meter.delay()
                refusal = (429, "Another call for this customer is under way") if not alone else None
                refusal = refusal or meter.refusal(form, headers) or meter.record(form)
            if refusal is not None:
                self.refuse(*refusal)
            elif fault == "recorded_then_500":
                self.refuse(500, "An error occurred with our servers.")
            elif fault == "cut":
                self.hang_up()
            elif fault == "drip":
                self.drip()
            else:
                event = {name: form[name] for name in ("event_name", "identifier")}
                payload = {name: form[f"payload[{name}]"] for name in ("stripe_customer_id", "value")}
                about = {"object": "billing.meter_event", "created": int(time.time()), "livemode": False}
                self.answer(200, {**about, **event, "payload": payload, "timestamp": int(form["timestamp"])})

        def refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
            self.answer(status, {"error": {"type": "invalid_request_error", "message": message}}, headers)

        def answer(self, status: int, told: object, headers: dict[str, str] | None = None) -> None:
            self.send(status, json.dumps(told).encode(), headers or {})

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            meter.answered[status] += 1
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Request-Id": "req_1", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.close_connection = True
            try:
                while not meter.stopped.wait(0.05):
                    self.wfile.write(b" ")
            except OSError:
                pass  # the client has had enough

        def log_message(self, *_: object) -> None:
            pass

    return Handler
