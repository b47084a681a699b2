"""Anthropic's Messages API on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from simulator.answers.schema_check import compact, schema_fault
from simulator.protocol import anthropic_stream, tokens
from simulator.protocol.anthropic_request import Block, CacheControl, MessagesBody, ToolDefinition
from simulator.protocol.asked import Breakpoint, SimulatedRequest, Tool
from simulator.protocol.faults import Provider
from simulator.protocol.prompt_cache import SimulatedPromptCache
from simulator.protocol.refusal import Fault, first_fault
from simulator.protocol.tokens import SimulatedUsage
from simulator.protocol.wire import RefusedError, Reply, Trouble

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-6", "claude-haiku-4-5")

_ERROR_TYPES: Mapping[Trouble, str] = {
    "invalid": "invalid_request_error",
    "no_key": "authentication_error",
    "wrong_key": "authentication_error",
    "unknown_model": "not_found_error",
    "rate_limited": "rate_limit_error",
    "broken": "api_error",
    "overloaded": "overloaded_error",
    "timed_out": "timeout_error",
}


class AnthropicWire:
    """Reads and writes Anthropic's format."""

    provider: Provider = "anthropic"
    request_id_header = b"request-id"

    def __init__(self) -> None:
        self._cache = SimulatedPromptCache()
        models = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": "1970-01-01T00:00:00Z",
                "lifecycle": "active",
            }
            for name in MODELS
        ]
        listing = {"data": models, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
        self._models = json.dumps(listing).encode()

    def request_id(self, number: int) -> str:
        return f"req_sim_{number:020d}"  # no id of Anthropic's looks like it: see CallReply.simulated

    def check_key(self, headers: Mapping[bytes, bytes]) -> None:
        # The SDK of today sends its key as a bearer token, older ones and plain HTTP clients send x-api-key.
        bearer = headers.get(b"authorization", b"")
        if not headers.get(b"x-api-key", b"").strip() and not bearer.removeprefix(b"Bearer ").strip():
            raise RefusedError("no_key", "x-api-key header is required")

    def read(self, body: bytes) -> SimulatedRequest:
        try:
            sent = MessagesBody.model_validate_json(body)
        except ValidationError as error:
            raise _refused(first_fault(error)) from None
        if not sent.model.startswith("claude"):
            raise RefusedError("unknown_model", f"model: {sent.model}", model=sent.model)
        raw: dict[str, Any] = json.loads(body)
        prompt = _Prompt()
        for tool, as_sent in zip(sent.tools or [], raw.get("tools") or [], strict=True):
            shown = {key: value for key, value in as_sent.items() if key != "cache_control"}
            prompt.add(compact(shown), tool.cache_control)
        schema = None
        if sent.output_config is not None and sent.output_config.format is not None:
            schema = sent.output_config.format.schema_
            _check(schema, "output_config.format.schema", sent)
            prompt.add(compact(schema), None)
        system = _system(sent, prompt)
        turns = []
        for message in sent.messages:
            blocks = message.content if isinstance(message.content, list) else [message.content]
            said = [text for block in blocks for text in _block_texts(block, prompt)]
            turns.append((message.role, "\n\n".join(said)))
        if sent.cache_control is not None:
            prompt.mark(sent.cache_control)
        return SimulatedRequest(
            model=sent.model,
            system=system,
            turns=tuple(turns),
            texts=tuple(prompt.texts),
            messages=len(turns),
            breakpoints=tuple(prompt.breakpoints),
            max_output_tokens=sent.max_tokens,
            schema=schema,
            tool=_forced_tool(sent),
            json_mode=False,
            stop=tuple(sent.stop_sequences or ()),
            stream=bool(sent.stream),
            raw=raw,
        )

    def reply(self, asked: SimulatedRequest, text: str, request_id: str) -> Reply:
        counts = tokens.count(asked.texts)
        use = self._cache.use(asked.model, asked.texts, counts, asked.breakpoints)
        # Rounded cumulatively, so that the parts never add up to more than the whole.
        read, written = claude_tokens(use.read), claude_tokens(use.read + use.written)
        ends = [(text.find(mark), mark) for mark in asked.stop if mark and mark in text]
        end, stopped_by = min(ends, default=(len(text), None))
        limit = asked.max_output_tokens or 0
        text, o200k, was_cut = tokens.cut(text[:end], limit * 2 // 3)
        usage = SimulatedUsage(
            input_tokens=claude_tokens(sum(counts)),
            # Even an empty answer has an end that is generated.
            output_tokens=max(claude_tokens(o200k), min(1, limit)),
            cached_tokens=read,
            written_tokens=written - read,
            written_long_tokens=claude_tokens(use.read + use.written + use.written_long) - written,
        )
        message = _message(asked, text, usage, request_id, was_cut=was_cut, stopped_by=stopped_by)
        if asked.stream:
            return Reply("text/event-stream; charset=utf-8", anthropic_stream.events(message), usage)
        return Reply("application/json", (json.dumps(message).encode(),), usage)

    def error(self, refused: RefusedError, request_id: str) -> bytes:
        error = {"type": _ERROR_TYPES[refused.trouble], "message": refused.message}
        return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()

    def models(self) -> bytes:
        return self._models


def claude_tokens(o200k: int) -> int:
    """The tokens that a Claude model counts for a text of so many o200k tokens: half as many again, rounded up."""
    return (3 * o200k + 1) // 2


@dataclass(slots=True)
class _Prompt:
    """The texts of a prompt in the order in which they are read, and the ends of the prefixes to cache."""

    texts: list[str] = field(default_factory=list)
    breakpoints: list[Breakpoint] = field(default_factory=list)

    def add(self, text: str, control: CacheControl | None) -> None:
        self.texts.append(text)
        if control is not None:
            self.mark(control)

    def mark(self, control: CacheControl) -> None:
        self.breakpoints.append(Breakpoint(len(self.texts), long_lived=control.ttl == "1h"))


def _system(sent: MessagesBody, prompt: _Prompt) -> str:
    if sent.system is None:
        return ""
    if isinstance(sent.system, str):
        prompt.add(sent.system, None)
        return sent.system
    for block in sent.system:
        prompt.add(block.text, block.cache_control)
    return "\n\n".join(block.text for block in sent.system)


def _block_texts(block: Block | str, prompt: _Prompt) -> Iterable[str]:
    """The block's texts, each added to the prompt."""
    if isinstance(block, str):
        prompt.add(block, None)
        return [block]
    found = [block.text] if block.type == "text" else []
    if block.type == "tool_use":
        found = [compact(block.input)]
    elif block.type == "tool_result" and isinstance(block.content, str):
        found = [block.content]
    elif block.type == "tool_result" and block.content is not None:
        found = [inner.text for inner in block.content if isinstance(inner, Block)]
    for text in found:
        prompt.add(text, None)
    if block.cache_control is not None:
        prompt.mark(block.cache_control)
    return found


def _message(
    asked: SimulatedRequest, text: str, usage: SimulatedUsage, request_id: str, *, was_cut: bool, stopped_by: str | None
) -> dict[str, Any]:
    number = request_id.removeprefix("req_")
    raw_tier = asked.raw.get("service_tier")
    reason = "max_tokens" if was_cut else "stop_sequence" if stopped_by is not None else "end_turn"
    content: list[dict[str, Any]] = [{"type": "text", "text": text, "citations": None}] if text else []
    if asked.tool is not None:
        # Arguments that were cut off are not valid JSON, so the call comes without them.
        arguments = {} if reason != "end_turn" else json.loads(text)
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": asked.tool.name, "input": arguments}
        content, reason = [call], "tool_use" if reason == "end_turn" else reason
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": stopped_by if reason == "stop_sequence" else None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": usage.input_tokens - usage.cached_tokens - usage.written_tokens - usage.written_long_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation_input_tokens": usage.written_tokens + usage.written_long_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.written_tokens,
                "ephemeral_1h_input_tokens": usage.written_long_tokens,
            },
            "output_tokens": usage.output_tokens,
            "service_tier": "standard" if raw_tier == "standard_only" else asked.account_tier or "standard",
        },
    }


def _forced_tool(sent: MessagesBody) -> Tool | None:
    """The tool that must be called, if one must."""
    choice, tools = sent.tool_choice, sent.tools or []
    if choice is None or choice.type in ("auto", "none"):
        return None
    if not tools:
        raise _invalid("tool_choice: may only be given together with tools", sent)
    chosen: ToolDefinition | None = tools[0]
    if choice.type == "tool":
        chosen = next((tool for tool in tools if tool.name == choice.name), None)
    if chosen is None:
        raise _invalid(f"tool_choice.name: no tool is called '{choice.name}'", sent)
    if chosen.input_schema is None:
        raise _invalid(f"tools: '{chosen.name}' is run by the provider, which this server does not offer", sent)
    _check(chosen.input_schema, "tools", sent)
    return Tool(chosen.name, chosen.input_schema)


def _check(schema: dict[str, Any], place: str, sent: MessagesBody) -> None:
    if (fault := schema_fault(schema)) is not None:
        raise _invalid(f"{place}: {fault}", sent)


def _invalid(message: str, sent: MessagesBody) -> RefusedError:
    return RefusedError("invalid", message, model=sent.model)


def _refused(fault: Fault) -> RefusedError:
    if fault.kind == "json_invalid":
        return RefusedError("invalid", f"The request body is not valid JSON: {fault.message}")
    place = ".".join(str(part) for part in fault.path)
    return RefusedError("invalid", f"{place}: {fault.message}" if place else fault.message)
