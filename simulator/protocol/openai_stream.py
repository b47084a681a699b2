"""A finished Responses answer as the events that build it up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from simulator.protocol.pieces import pieces


def events(response: dict[str, Any]) -> tuple[bytes, ...]:
    """The server-sent events of ``response``, one part each."""
    return tuple(
        f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, **data})}\n\n".encode()
        for number, (name, data) in enumerate(_steps(response))
    )


def _steps(response: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    item = response["output"][0]
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    place = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
        yield "response.output_item.added", {"output_index": 0, "item": empty}
        for piece in pieces(item["arguments"]):
            yield "response.function_call_arguments.delta", {**place, "delta": piece}
        done = {"arguments": item["arguments"], "name": item["name"]}
        yield "response.function_call_arguments.done", {**place, **done}
    else:
        part = item["content"][0]
        place["content_index"] = 0
        empty = {**item, "status": "in_progress", "content": []}
        yield "response.output_item.added", {"output_index": 0, "item": empty}
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for piece in pieces(part["text"]):
            yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield f"response.{response['status']}", {"response": response}
