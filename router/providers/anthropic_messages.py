"""Anthropic's Messages API, over the official SDK.

As with OpenAI's, the body is written and the answer read here, which saves a quarter of a call's CPU; the SDK carries
them. It also avoids the SDK's refusal of long answers that are not streamed: the call's deadline is ours.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2

from errors import ProviderError
from router.http import secrecy
from router.http.deadline import CallOnTheWire, deadline, http_client, timeouts
from router.providers import bodies, dialects, failures, schemas, tags, tiers
from router.providers.calls import CallReply, CallRequest, Finish
from router.providers.objects import BrokenObjectError, read_object
from router.providers.server import ServerHabits
from router.providers.text import one_line, storable
from router.providers.usage import anthropic_usage
from router.providers.whole import AnswerLimits

NAME = "anthropic"
BASE_URL = "https://api.anthropic.com"


class AnthropicMessages:
    """The provider ``anthropic``. One for a process: building it takes 0.1 s, and threads share its connections."""

    name = NAME

    def __init__(
        self,
        api_key: str,
        base_url: str | None = None,
        limits: AnswerLimits | None = None,
        habits: ServerHabits | None = None,
    ) -> None:
        """``base_url`` names a compatible server or a gateway; Anthropic itself if it is ``None``.

        ``habits`` say how that server deals with calls.

        :raises ProviderAuthError: the key is not valid.
        """
        secrecy.check_key(NAME, api_key)
        self._key = api_key
        self._behind_gateway = base_url is not None
        habits = habits or ServerHabits()
        self._may_have_retried = self._behind_gateway and habits.retries
        self._tags = habits.takes_tags
        self._asks_for_tier = habits.takes_tags or not self._behind_gateway
        # Always given, because the SDK would take it from the environment, past our settings.
        url = base_url or BASE_URL
        self._limits = limits or AnswerLimits()
        self._client = anthropic.Anthropic(
            api_key=api_key, base_url=url, max_retries=0, http_client=http_client(url, self._limits)
        )

    def call(self, request: CallRequest) -> CallReply:
        """Ask once (see :class:`router.providers.calls.Provider`)."""
        client = self._client_for(request)
        try:
            with deadline(request.timeout_s) as wire:
                response = client.post(
                    "/v1/messages",
                    content=_body(request, tags_too=self._tags, tier_too=self._asks_for_tier),
                    cast_to=httpx2.Response,
                    options={"headers": self._headers(request), "timeout": timeouts(request.timeout_s)},
                )
        except anthropic.AnthropicError as error:
            failure = _failure(error, request.api_key or self._key, wire=wire, may_have_retried=self._may_have_retried)
            secrecy.scrub(error, request.api_key or self._key)
            raise failure from error
        except failures.OUR_SIDE as error:
            failure = failures.without_answer(NAME, error, sent=wire.sent, place=wire.place)
            secrecy.scrub(error, request.api_key or self._key)
            raise failure from error
        return _read(response, request, self._limits, request.api_key or self._key)

    def _client_for(self, request: CallRequest) -> anthropic.Anthropic:
        if request.api_key is None:
            return self._client
        secrecy.check_key(NAME, request.api_key)
        return self._client.with_options(api_key=request.api_key)

    def _headers(self, request: CallRequest) -> dict[str, str | anthropic.Omit]:
        headers: dict[str, str | anthropic.Omit] = {**tags.client_request_id(request)}
        if self._behind_gateway:
            headers |= tags.gateway_headers(request)
        return headers


def _body(request: CallRequest, *, tags_too: bool, tier_too: bool) -> bytes:
    system = [message.content for message in request.messages if message.role == "system"]
    messages = [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"]
    if not messages and system:
        # A conversation needs a user's message; a prompt that is all instruction is one.
        messages = [{"role": "user", "content": "\n\n".join(system)}]
        system = []
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "max_tokens": request.max_output_tokens,
    }
    if tier_too:
        body["service_tier"] = tiers.ANTHROPIC_STANDARD
    if tags_too:
        body["metadata"] = {"user_id": request.end_user}
    if request.output_schema is not None:
        output_format = schemas.claude_format(request.output_schema)
        if output_format is not None:
            body["output_config"] = {"format": output_format}
        if output_format is None or request.output_fault is not None:
            system.append(schemas.in_words(request.output_schema, request.output_fault))
    if system:
        body["system"] = "\n\n".join(system)
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _failure(
    error: anthropic.AnthropicError, key: str, *, wire: CallOnTheWire, may_have_retried: bool
) -> ProviderError:
    if not isinstance(error, anthropic.APIStatusError):
        return failures.without_answer(NAME, error.__cause__, sent=wire.sent, place=wire.place)
    return failures.from_refusal(
        NAME,
        failures.Refusal(
            status=error.status_code,
            codes=failures.words(error.type, error.error_code),
            text=bodies.reason_in(error.response.content, **bodies.packaging(error.response), key=key),
            headers=error.response.headers,
            request_id=error.request_id,
        ),
        may_have_retried=may_have_retried,
    )


# ------------------------------------------------------------------------------------------- the answer, as it comes


def _read(response: httpx2.Response, request: CallRequest, limits: AnswerLimits, key: str) -> CallReply:
    request_id = one_line(response.headers.get("request-id")) or None
    try:
        answer = read_object(response.content)
    except BrokenObjectError as broken:
        usage = anthropic_usage(broken.usage_said).usage
        what = _what_came(response, key, broken=str(broken))
        raise failures.malformed(NAME, what, request_id=request_id, usage=usage) from broken
    read = anthropic_usage(answer.get("usage"))
    request_id = request_id or one_line(answer.get("id")) or None
    blocks = answer.get("content")
    told = answer.get("error")
    if answer.get("type") == "error" or (told and not blocks):
        raise failures.inside_an_answer(
            NAME,
            told,
            key=key,
            headers=response.headers,
            request_id=request_id,
            usage=read.usage,
        )
    foreign = None if blocks else dialects.spoken(answer, instead_of="Messages")
    if foreign or (blocks is None and read.usage is None) or not isinstance(blocks, list | None):
        what = foreign or _what_came(response, key, read=answer)
        raise failures.malformed(NAME, what, request_id=request_id, usage=read.usage)
    blocks = [block for block in blocks or () if isinstance(block, dict)]
    text = storable("".join(_texts(blocks)))
    finish = _finish(answer.get("stop_reason"))
    if not text.strip() and finish != "refusal":
        kinds = {one_line(block.get("type")) for block in blocks}
        raise failures.without_text(NAME, _held_instead(kinds, finish), request_id=request_id, usage=read.usage)
    if len(text) > limits.characters:
        raise failures.too_much_text(NAME, limits.characters, request_id=request_id, usage=read.beside(text).usage)
    read = read.beside(text)
    return CallReply(
        text=text,
        usage=read.usage,
        model=one_line(answer.get("model")) or request.model,
        provider_request_id=request_id,
        finish=finish,
        usage_fault=read.fault,
    )


def _what_came(response: httpx2.Response, key: str, *, read: dict[str, Any] | None = None, broken: str = "") -> str:
    came = bodies.what_came(response.content, **bodies.packaging(response), key=key, read=read, broken=broken)
    return f"the answer is not a Messages object: {came}"


def _texts(blocks: list[dict[str, Any]]) -> list[str]:
    said = [block.get("text") for block in blocks if block.get("type") == "text"]
    return [text for text in said if isinstance(text, str)]


def _held_instead(kinds: set[str], finish: Finish) -> str:
    if any(kind.endswith("tool_use") for kind in kinds):
        return "it calls a tool that it was not given"
    cut = ", cut at max_output_tokens" if finish == "length" else ""
    return ("only reasoning" if kinds & {"thinking", "redacted_thinking"} else "it is empty") + cut


def _finish(stop_reason: Any) -> Finish:
    if stop_reason in ("max_tokens", "model_context_window_exceeded"):
        return "length"
    # Any other reason, known today or not, comes with a whole answer that was paid for.
    return "refusal" if stop_reason == "refusal" else "complete"
