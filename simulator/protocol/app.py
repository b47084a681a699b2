"""The simulator's routes."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.protocol import tokens
from simulator.protocol.anthropic_wire import AnthropicWire
from simulator.protocol.calls import CallHandler
from simulator.protocol.delivery import DeliveryPace
from simulator.protocol.faults import Behaviours, Faults
from simulator.protocol.journal import Journal
from simulator.protocol.openai_wire import OpenAIWire
from simulator.protocol.refusal import first_fault
from simulator.protocol.wire import STATUS, RefusedError, WireFormat


def build_app(*, seed: int = 0, pace: DeliveryPace | None = None) -> Starlette:
    """Both providers, with an empty journal and faultless behaviour.

    :param seed: the seed of random faults and latencies, besides the number of the call.
    :param pace: the bounds of the slow faults.
    """
    tokens.count([""])  # loads the vocabulary, so that the first call need not wait for it
    faults, journal, bounds = Faults(seed), Journal(), pace or DeliveryPace()
    openai, anthropic = OpenAIWire(), AnthropicWire()
    control = _Control(faults, journal, openai, anthropic)
    return Starlette(
        routes=[
            Route("/v1/responses", CallHandler(openai, faults, journal, bounds), methods=["POST"]),
            Route("/v1/messages", CallHandler(anthropic, faults, journal, bounds), methods=["POST"]),
            Route("/v1/models", control.models, methods=["GET"]),
            Route("/_sim/journal", control.read_journal, methods=["GET"]),
            Route("/_sim/journal", control.clear_journal, methods=["DELETE"]),
            Route("/_sim/behaviour", control.read_behaviour, methods=["GET"]),
            Route("/_sim/behaviour", control.set_behaviour, methods=["PUT"]),
        ]
    )


class _Control:
    """Every route except the calls."""

    def __init__(self, faults: Faults, journal: Journal, openai: WireFormat, anthropic: WireFormat) -> None:
        self._faults = faults
        self._journal = journal
        self._openai = openai
        self._anthropic = anthropic

    async def models(self, request: Request) -> Response:
        """List the models of the provider whose client asks; both serve the same path."""
        is_anthropic = "anthropic-version" in request.headers or "x-api-key" in request.headers
        wire = self._anthropic if is_anthropic else self._openai
        try:
            wire.check_key(dict(request.scope["headers"]))
        except RefusedError as refused:
            body = wire.error(refused, wire.request_id(0))
            return Response(body, STATUS[refused.trouble], media_type="application/json")
        return Response(wire.models(), media_type="application/json")

    async def read_journal(self, request: Request) -> Response:
        """The journal, from entry number ``since`` on."""
        since = request.query_params.get("since", "0")
        if not since.isascii() or not since.isdigit():
            return _unprocessable("since", "must be a whole number, 0 or more")
        return Response(self._journal.read(int(since)), media_type="application/json")

    async def clear_journal(self, request: Request) -> Response:
        """Empty the journal."""
        return JSONResponse({"cleared": self._journal.clear()})

    async def read_behaviour(self, request: Request) -> Response:
        """Both providers' behaviour."""
        return JSONResponse(self._faults.describe())

    async def set_behaviour(self, request: Request) -> Response:
        """Change the behaviour; answers with the behaviour that is now in force."""
        try:
            wanted = Behaviours.model_validate_json(await request.body())
        except ValidationError as error:
            fault = first_fault(error)
            return _unprocessable(".".join(str(part) for part in fault.path[:2]) or "body", fault.message)
        self._faults.set(wanted)
        return JSONResponse(self._faults.describe())


def _unprocessable(field: str, message: str) -> Response:
    return JSONResponse({"error": {"field": field, "message": message}}, 422)
