"""Anthropic's Messages API, over the official SDK.

As with OpenAI's, the body is written and the answer read here, which saves a quarter of a call's CPU; the SDK carries
them. It also spares the SDK's refusal of long answers that are not streamed: the call's deadline is ours.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from errors import ProviderError
from router.providers import failures, schemas, secrecy, tags
from router.providers.calls import CallReply, CallRequest, Finish, Usage
from router.providers.deadline import deadline, http_client, timeouts

NAME = "anthropic"
BASE_URL = "https://api.anthropic.com"


class AnthropicMessages:
    """The provider ``anthropic``. One for a process: building it takes 0.1 s, and threads share its connections."""

    name = NAME

    def __init__(self, api_key: str, base_url: str | None = None) -> None:
        """``base_url`` names a compatible server or a gateway; Anthropic itself if it is ``None``.

        :raises ProviderAuthError: the key cannot be one.
        """
        secrecy.check_key(NAME, api_key)
        self._key = api_key
        self._behind_gateway = base_url is not None
        # Always said, for the SDK would take it from the environment, past our settings.
        url = base_url or BASE_URL
        self._client = anthropic.Anthropic(api_key=api_key, base_url=url, max_retries=0, http_client=http_client(url))

    def call(self, request: CallRequest) -> CallReply:
        """Ask once (see :class:`router.providers.calls.Provider`)."""
        client = self._client_for(request)
        try:
            with deadline(request.timeout_s) as wire:
                response = client.post(
                    "/v1/messages",
                    content=_body(request),
                    cast_to=httpx2.Response,
                    options={"headers": self._headers(request), "timeout": timeouts(request.timeout_s)},
                )
        except anthropic.AnthropicError as error:
            failure = _failure(error, request.api_key or self._key, sent=wire.sent)
            secrecy.scrub(error, request.api_key or self._key)
            raise failure from error
        return _read(response)

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


def _body(request: CallRequest) -> bytes:
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
        "metadata": {"user_id": request.end_user},
    }
    if request.output_schema is not None:
        output_format = schemas.claude_format(request.output_schema)
        if output_format is not None:
            body["output_config"] = {"format": output_format}
        else:
            system.append(schemas.in_words(request.output_schema))
    if system:
        body["system"] = "\n\n".join(system)
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _failure(error: anthropic.AnthropicError, key: str, *, sent: bool) -> ProviderError:
    if not isinstance(error, anthropic.APIStatusError):
        return failures.without_answer(NAME, error.__cause__, sent=sent)
    return failures.from_refusal(
        NAME,
        failures.Refusal(
            status=error.status_code,
            codes=failures.words(error.type, error.error_code),
            text=secrecy.hide(str(error.api_message or error.message), key),
            headers=error.response.headers,
            request_id=error.request_id,
        ),
    )


# ------------------------------------------------------------------------------------------- the answer, as it comes


class _Part(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


class _OutputDetails(_Part):
    thinking_tokens: NonNegativeInt = 0


class _Usage(_Part):
    input_tokens: NonNegativeInt
    cache_read_input_tokens: NonNegativeInt | None = None
    cache_creation_input_tokens: NonNegativeInt | None = None
    output_tokens: NonNegativeInt
    output_tokens_details: _OutputDetails | None = None


class _Block(_Part):
    type: str
    text: str = ""


class _Answer(_Part):
    id: str
    model: str
    content: list[_Block]
    stop_reason: str
    usage: _Usage


def _read(response: httpx2.Response) -> CallReply:
    request_id: str | None = response.headers.get("request-id")
    try:
        answer = _Answer.model_validate_json(response.content)
    except ValidationError as error:
        raise failures.malformed(NAME, "Messages object", request_id=request_id) from error
    return CallReply(
        text="".join(block.text for block in answer.content if block.type == "text"),
        usage=_usage(answer.usage),
        model=answer.model,
        provider_request_id=request_id or answer.id,
        finish=_finish(answer.stop_reason),
    )


def _usage(usage: _Usage) -> Usage:
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Usage(
        # What the cache served or took is not in Anthropic's count of the input; in ours it is.
        input_tokens=usage.input_tokens + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0,
    )


def _finish(stop_reason: str) -> Finish:
    if stop_reason in {"max_tokens", "model_context_window_exceeded"}:
        return "length"
    # Any other reason, known today or not, leaves a whole answer that was paid for.
    return "refusal" if stop_reason == "refusal" else "complete"
