"""One provider's calls: read, choose the fault, answer, write to the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from simulator.answers.answers import answer
from simulator.protocol import delivery
from simulator.protocol.asked import SimulatedRequest
from simulator.protocol.delivery import DeliveryPace, Headers
from simulator.protocol.faults import FaultDraw, FaultName, Faults
from simulator.protocol.journal import Journal
from simulator.protocol.tokens import SimulatedUsage
from simulator.protocol.wire import STATUS, RefusedError, Reply, Trouble, WireFormat

GAVE_UP = 0
"""The journal's status for a call of which no complete answer reached the client."""

_NOTHING = SimulatedUsage(input_tokens=0, output_tokens=0)
_ERRORS: Mapping[FaultName, tuple[Trouble, str]] = {
    "auth": ("wrong_key", "The API key is not valid."),
    "400": ("invalid", "The request cannot be served as it is."),
    "429": ("rate_limited", "Too many requests for this account; slow down and try again."),
    "500": ("broken", "The server ran into an error while it handled the request."),
    "529": ("overloaded", "The service is overloaded; try again later."),
}


@dataclass(frozen=True, slots=True)
class _Call:
    """The call that is being handled."""

    receive: Receive
    send: Send
    request_id: str
    client_request_id: str | None
    fault: FaultName = "none"


class CallHandler:
    """The ASGI endpoint of one provider's calls."""

    def __init__(self, wire: WireFormat, faults: Faults, journal: Journal, pace: DeliveryPace) -> None:
        self._wire = wire
        self._faults = faults
        self._journal = journal
        self._pace = pace
        self._number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._number += 1
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-client-request-id")
        call = _Call(
            receive, send, self._wire.request_id(self._number), given.decode("latin-1") if given is not None else None
        )
        body = await delivery.read_body(receive)
        if body is None:
            return
        try:
            self._wire.check_key(headers)
            asked = self._wire.read(body)
        except RefusedError as refused:
            await self._refuse(call, refused, model=refused.model or _model_in(body))
            return
        verdict = self._faults.draw(self._wire.provider)
        asked = replace(asked, account_tier=verdict.service_tier)
        await self._answer(_Call(receive, send, call.request_id, call.client_request_id, verdict.fault), asked, verdict)

    async def _answer(self, call: _Call, asked: SimulatedRequest, verdict: FaultDraw) -> None:
        error = _ERRORS.get(verdict.fault)
        # A call that gets no error is worked on and billed, whether or not the client waits for the answer.
        reply = self._reply(call, asked) if error is None else None
        usage = reply.usage if reply is not None else _NOTHING
        if verdict.latency_s > 0 and await delivery.client_leaves(call.receive, verdict.latency_s):
            self._note(call, asked.model, GAVE_UP, usage)
        elif reply is None and error is not None:
            trouble, message = error
            retry_after_s = verdict.retry_after_s if trouble == "rate_limited" else None
            await self._refuse(call, RefusedError(trouble, message), model=asked.model, retry_after_s=retry_after_s)
        elif reply is not None:
            await self._deliver(call, asked, reply)

    async def _deliver(self, call: _Call, asked: SimulatedRequest, reply: Reply) -> None:
        headers = self._headers(call, reply.content_type)
        match call.fault:
            case "hang":
                if await delivery.client_leaves(call.receive, self._pace.hang_s):
                    self._note(call, asked.model, GAVE_UP, reply.usage)
                else:
                    refused = RefusedError("timed_out", "The request took too long.")
                    await self._refuse(call, refused, model=asked.model)
            case "cut":
                self._note(call, asked.model, GAVE_UP, reply.usage)
                await delivery.send_half(call.send, headers, reply.body)
            case "drip":
                stayed = await delivery.send_drip(call.receive, call.send, headers, reply.body, self._pace)
                self._note(call, asked.model, 200 if stayed else GAVE_UP, reply.usage)
            case "flood":
                self._note(call, asked.model, GAVE_UP, reply.usage)
                await delivery.send_flood(call.receive, call.send, headers, reply.body)
            case "bomb":
                self._note(call, asked.model, 200, reply.usage)
                packed = [*headers, (b"content-encoding", b"gzip")]
                await delivery.send_whole(call.send, 200, packed, (delivery.bomb(),))
            case "error_200":
                self._note(call, asked.model, 200, _NOTHING)
                error = self._wire.error(
                    RefusedError("overloaded", "A server behind this one is busy."), call.request_id
                )
                await delivery.send_whole(call.send, 200, headers, (error,))
            case "empty" | "absurd_usage" if not reply.streamed:
                self._note(call, asked.model, 200, reply.usage)
                await delivery.send_whole(call.send, 200, headers, (_odd(reply, call.fault),))
            case "malformed":
                self._note(call, asked.model, 200, reply.usage)
                await delivery.send_whole(call.send, 200, headers, (_broken(reply),))
            case _:
                self._note(call, asked.model, 200, reply.usage)
                await delivery.send_whole(call.send, 200, headers, reply.parts)

    def _reply(self, call: _Call, asked: SimulatedRequest) -> Reply:
        return self._wire.reply(asked, answer(asked), call.request_id)

    async def _refuse(
        self, call: _Call, refused: RefusedError, *, model: str | None, retry_after_s: float | None = None
    ) -> None:
        status = STATUS[refused.trouble]
        headers = self._headers(call, "application/json")
        if retry_after_s is not None:
            headers.append((b"retry-after", f"{retry_after_s:g}".encode()))
        self._note(call, model, status, _NOTHING)
        await delivery.send_whole(call.send, status, headers, (self._wire.error(refused, call.request_id),))

    def _headers(self, call: _Call, content_type: str) -> Headers:
        return [(b"content-type", content_type.encode()), (self._wire.request_id_header, call.request_id.encode())]

    def _note(self, call: _Call, model: str | None, status: int, usage: SimulatedUsage) -> None:
        self._journal.write(
            provider=self._wire.provider,
            model=model,
            client_request_id=call.client_request_id,
            request_id=call.request_id,
            status=status,
            fault=call.fault,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_tokens,
            cache_write_tokens=usage.written_tokens + usage.written_long_tokens,
        )


def _broken(reply: Reply) -> bytes:
    """The reply with JSON that ends too early, in its one body or in one of its events."""
    if reply.streamed:
        return reply.parts[0] + b'event: message\ndata: {"type": "broken\n\n'
    return reply.body[: len(reply.body) * 2 // 3]


def _odd(reply: Reply, fault: FaultName) -> bytes:
    """The reply without its text, or with an impossible usage."""
    said = json.loads(reply.body)
    if fault == "empty":
        said["output" if "output" in said else "content"] = []
    else:
        said["usage"]["output_tokens"] = 100_000_000
    return json.dumps(said).encode()


def _model_in(body: bytes) -> str | None:
    """The model that a refused body names, for the journal."""
    try:
        sent = json.loads(body)
    except ValueError:
        return None
    model = sent.get("model") if isinstance(sent, dict) else None
    return model if isinstance(model, str) else None
