"""OpenAI's Responses API on the wire."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from simulator.answers.schema_check import compact, schema_fault
from simulator.protocol import openai_stream, tokens
from simulator.protocol.asked import Breakpoint, SimulatedRequest, Tool
from simulator.protocol.faults import Provider
from simulator.protocol.openai_request import FunctionTool, InputItem, ResponsesBody
from simulator.protocol.prompt_cache import SimulatedPromptCache
from simulator.protocol.refusal import Fault, first_fault
from simulator.protocol.tokens import SimulatedUsage
from simulator.protocol.wire import RefusedError, Reply, Trouble

TOKENS_A_MESSAGE = 4
TOKENS_A_REQUEST = 3
CACHE_STEP = 128
NO_LIMIT = 128_000
SYSTEM_ROLES = ("system", "developer")
MODELS = (
    "gpt-6.1-sol",
    "gpt-6-luna",
    "gpt-5.6-sol",
    "gpt-5.6-terra",
    "gpt-5.6-luna",
    "gpt-5.5",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
)

_ERROR_TYPES: Mapping[Trouble, tuple[str, str | None]] = {
    "invalid": ("invalid_request_error", None),
    "no_key": ("invalid_request_error", None),
    "wrong_key": ("invalid_request_error", "invalid_api_key"),
    "unknown_model": ("invalid_request_error", "model_not_found"),
    "rate_limited": ("tokens", "rate_limit_exceeded"),
    "broken": ("server_error", None),
    "overloaded": ("service_unavailable_error", "server_is_overloaded"),
    "timed_out": ("server_error", "timeout"),
}
_CODES = {
    "missing": "missing_required_parameter",
    "greater_than_equal": "integer_below_min_value",
    "literal_error": "invalid_value",
    "string_too_long": "string_above_max_length",
    "string_pattern_mismatch": "invalid_value",
}
_VERSION = re.compile(r"^gpt-(\d+)(?:\.(\d+))?")


class OpenAIWire:
    """Reads and writes OpenAI's format."""

    provider: Provider = "openai"
    request_id_header = b"x-request-id"

    def __init__(self) -> None:
        self._cache = SimulatedPromptCache()
        self._models = json.dumps(
            {
                "object": "list",
                "data": [{"id": name, "object": "model", "created": 0, "owned_by": "headrace"} for name in MODELS],
            }
        ).encode()

    def request_id(self, number: int) -> str:
        return f"req_sim_{number:028x}"  # no id of OpenAI's looks like it: see CallReply.simulated

    def check_key(self, headers: Mapping[bytes, bytes]) -> None:
        if not headers.get(b"authorization", b"").startswith(b"Bearer ") or not headers[b"authorization"][7:].strip():
            raise RefusedError(
                "no_key", "No API key was sent; the Authorization header has to hold it after 'Bearer '."
            )

    def read(self, body: bytes) -> SimulatedRequest:
        try:
            sent = ResponsesBody.model_validate_json(body)
        except ValidationError as error:
            raise _refused(first_fault(error)) from None
        if sent.model.startswith("claude"):
            raise RefusedError(
                "unknown_model", f"The model '{sent.model}' does not exist.", param="model", model=sent.model
            )
        _refuse_state(sent)
        raw: dict[str, Any] = json.loads(body)
        items = _items(sent)
        prefix = _system_prefix(sent, items)
        tools = sent.tools or []
        extra = [compact(tool) for tool in raw.get("tools") or []]
        text_format = sent.text.format if sent.text is not None else None
        schema = None
        if text_format is not None and text_format.type == "json_schema":
            schema = _schema(text_format.schema_, text_format.name, sent.model)
            extra.append(compact(schema))
        rest = [text for item in items[len(prefix) - bool(sent.instructions) :] for text in item.texts]
        flat = [text for texts in prefix for text in texts]
        return SimulatedRequest(
            model=sent.model,
            system="\n\n".join(_system_texts(sent, items)),
            turns=tuple(
                (item.role or "user", "\n\n".join(item.texts)) for item in items if item.role not in SYSTEM_ROLES
            ),
            texts=(*flat, *extra, *rest),
            messages=len(items) + bool(sent.instructions),
            breakpoints=(Breakpoint(len(flat)),) if flat else (),
            max_output_tokens=sent.max_output_tokens,
            schema=schema,
            tool=_forced_tool(sent.tool_choice, tools, sent.model),
            json_mode=text_format is not None and text_format.type == "json_object",
            stop=(),
            stream=bool(sent.stream),
            raw=raw,
        )

    def reply(self, asked: SimulatedRequest, text: str, request_id: str) -> Reply:
        counts = tokens.count(asked.texts)
        cached, written = self._cached(asked, counts)
        text, output_tokens, was_cut = tokens.cut(text, asked.max_output_tokens or NO_LIMIT)
        usage = SimulatedUsage(
            input_tokens=sum(counts) + TOKENS_A_MESSAGE * asked.messages + TOKENS_A_REQUEST,
            output_tokens=output_tokens,
            cached_tokens=cached,
            written_tokens=written,
        )
        response = _response(asked, text, usage, request_id, was_cut=was_cut)
        if asked.stream:
            return Reply("text/event-stream; charset=utf-8", openai_stream.events(response), usage)
        return Reply("application/json", (json.dumps(response).encode(),), usage)

    def error(self, refused: RefusedError, request_id: str) -> bytes:
        kind, code = _ERROR_TYPES[refused.trouble]
        error = {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code or code}
        return json.dumps({"error": error}).encode()

    def models(self) -> bytes:
        return self._models

    def _cached(self, asked: SimulatedRequest, counts: Sequence[int]) -> tuple[int, int]:
        """Tokens read from the cache and tokens written to it, in the steps in which OpenAI caches."""
        use = self._cache.use(asked.model, asked.texts, counts, asked.breakpoints)
        written = use.written if _bills_writes(asked.model) else 0
        return use.read // CACHE_STEP * CACHE_STEP, written // CACHE_STEP * CACHE_STEP


def _response(
    asked: SimulatedRequest, text: str, usage: SimulatedUsage, request_id: str, *, was_cut: bool
) -> dict[str, Any]:
    number = request_id.removeprefix("req_")
    now = time.time()
    raw = asked.raw
    state = "incomplete" if was_cut else "completed"
    if asked.tool is not None:
        item: dict[str, Any] = {
            "id": f"fc_{number}",
            "type": "function_call",
            "status": state,
            "call_id": f"call_{number}",
            "name": asked.tool.name,
            "arguments": text,
        }
    else:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        item = {"id": f"msg_{number}", "type": "message", "status": state, "role": "assistant", "content": [part]}
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": int(now),
        "status": state,
        "background": False,
        "completed_at": None if was_cut else int(now),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if was_cut else None,
        "instructions": raw.get("instructions"),
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": raw.get("max_tool_calls"),
        "metadata": raw.get("metadata") or {},
        "model": asked.model,
        "output": [item],
        "parallel_tool_calls": raw.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "prompt_cache_key": raw.get("prompt_cache_key"),
        "reasoning": raw.get("reasoning") or {"effort": None, "summary": None},
        "safety_identifier": raw.get("safety_identifier"),
        "service_tier": _tier(asked),
        "store": raw.get("store", True),
        "temperature": raw.get("temperature", 1.0),
        "text": raw.get("text") or {"format": {"type": "text"}},
        "tool_choice": raw.get("tool_choice") or "auto",
        "tools": raw.get("tools") or [],
        "top_p": raw.get("top_p", 1.0),
        "truncation": raw.get("truncation") or "disabled",
        "usage": {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.written_tokens},
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
        "user": raw.get("user"),
    }


def _tier(asked: SimulatedRequest) -> str:
    """The service tier of the answer. It may be another one than was asked for."""
    wanted = str(asked.raw.get("service_tier") or "auto")
    if wanted == "auto":
        return asked.account_tier or "default"
    return "priority" if wanted == "fast" else wanted


def _items(sent: ResponsesBody) -> list[InputItem]:
    if isinstance(sent.input, str):
        return [InputItem(role="user", content=sent.input)]
    if not sent.input:
        raise RefusedError(
            "invalid",
            "Missing required parameter: 'input'.",
            param="input",
            code="missing_required_parameter",
            model=sent.model,
        )
    for number, item in enumerate(sent.input):
        if item.type == "message" and (item.role is None or item.content is None):
            missing = f"input[{number}].{'role' if item.role is None else 'content'}"
            raise RefusedError(
                "invalid",
                f"Missing required parameter: '{missing}'.",
                param=missing,
                code="missing_required_parameter",
                model=sent.model,
            )
    return sent.input


def _system_texts(sent: ResponsesBody, items: Sequence[InputItem]) -> list[str]:
    """All instructions to the model, in any position."""
    given = [sent.instructions] if sent.instructions else []
    return given + [text for item in items if item.role in SYSTEM_ROLES for text in item.texts]


def _system_prefix(sent: ResponsesBody, items: Sequence[InputItem]) -> list[list[str]]:
    """The texts that come first and stay the same from call to call: instructions, then leading system messages."""
    prefix = [[sent.instructions]] if sent.instructions else []
    for item in items:
        if item.role not in SYSTEM_ROLES:
            break
        prefix.append(item.texts)
    return prefix


def _schema(schema: dict[str, Any] | None, name: str | None, model: str) -> dict[str, Any]:
    missing = "text.format.schema" if schema is None else "text.format.name" if name is None else None
    if missing is not None or schema is None:
        raise RefusedError(
            "invalid",
            f"Missing required parameter: '{missing}'.",
            param=missing,
            code="missing_required_parameter",
            model=model,
        )
    _check(schema, "text.format.schema", model)
    return schema


def _check(schema: dict[str, Any], param: str, model: str) -> None:
    if (fault := schema_fault(schema)) is not None:
        message = f"Invalid schema in '{param}': {fault}."
        raise RefusedError("invalid", message, param=param, code="invalid_json_schema", model=model)


def _forced_tool(choice: str | dict[str, Any] | None, tools: Sequence[FunctionTool], model: str) -> Tool | None:
    """The function that must be called, if one must."""
    functions = [tool for tool in tools if tool.type == "function"]
    if choice == "required" and functions:
        chosen = functions[0]
    elif isinstance(choice, dict) and choice.get("type") == "function":
        named = [tool for tool in functions if tool.name == choice.get("name")]
        if not named:
            raise RefusedError(
                "invalid",
                f"Invalid 'tool_choice': no function is called '{choice.get('name')}'.",
                param="tool_choice",
                model=model,
            )
        chosen = named[0]
    else:
        return None
    schema = chosen.parameters or {"type": "object", "properties": {}}
    _check(schema, "tools", model)
    return Tool(chosen.name, schema)


def _refuse_state(sent: ResponsesBody) -> None:
    """Refuse fields that would need a memory of earlier calls."""
    for name, wanted in (
        ("background", sent.background),
        ("previous_response_id", sent.previous_response_id),
        ("conversation", sent.conversation),
    ):
        if wanted:
            raise RefusedError(
                "invalid",
                f"Unsupported parameter: '{name}' is not offered by this server.",
                param=name,
                code="unsupported_parameter",
                model=sent.model,
            )


def _refused(fault: Fault) -> RefusedError:
    if fault.kind == "json_invalid":
        return RefusedError("invalid", f"The body of the request is not valid JSON: {fault.message}.")
    param = ""
    for part in fault.path:
        param += f"[{part}]" if isinstance(part, int) else f".{part}" if param else part
    if fault.kind == "missing":
        message = f"Missing required parameter: '{param}'."
    elif fault.kind.endswith("_type") or not param:
        message = f"Invalid type for '{param}': {fault.message}."
    else:
        message = f"Invalid '{param}': {fault.message}."
    return RefusedError("invalid", message, param=param or None, code=_CODES.get(fault.kind, "invalid_type"))


def _bills_writes(model: str) -> bool:
    """Whether writing to the cache has a price of its own, as it has since GPT-5.6."""
    version = _VERSION.match(model)
    return version is not None and (int(version.group(1)), int(version.group(2) or 0)) >= (5, 6)
