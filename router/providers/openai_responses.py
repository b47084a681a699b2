"""OpenAI's Responses API, over the official SDK.

The body is written and the answer read here; the SDK carries them (authentication, headers, errors). Its
``responses.create`` walks every argument and builds a model of every field that exists: up to twice the CPU of a call.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from errors import ProviderError, ProviderRateLimitedError, ProviderRefusedError, ProviderUnavailableError
from router.providers import failures, schemas, secrecy, tags
from router.providers.calls import CallReply, CallRequest, Finish, Usage
from router.providers.deadline import deadline, http_client, timeouts

NAME = "openai"
BASE_URL = "https://api.openai.com/v1"


class OpenAIResponses:
    """The provider ``openai``. One for a process: building it takes 0.1 s, and threads share its connections."""

    name = NAME

    def __init__(self, api_key: str, base_url: str | None = None) -> None:
        """``base_url`` names a compatible server or a gateway; OpenAI itself if it is ``None``.

        :raises ProviderAuthError: the key cannot be one.
        """
        secrecy.check_key(NAME, api_key)
        self._behind_gateway = base_url is not None
        # Always said, for the SDK would take it from the environment, past our settings.
        url = base_url or BASE_URL
        self._client = openai.OpenAI(api_key=api_key, base_url=url, max_retries=0, http_client=http_client(url))

    def call(self, request: CallRequest) -> CallReply:
        """Ask once (see :class:`router.providers.calls.Provider`)."""
        client = self._client_for(request)
        try:
            with deadline(request.timeout_s) as wire:
                response = client.post(
                    "/responses",
                    content=_body(request),
                    cast_to=httpx2.Response,
                    options={"headers": self._headers(request), "timeout": timeouts(request.timeout_s)},
                )
        except openai.OpenAIError as error:
            failure = _failure(error, client.api_key, sent=wire.sent)
            secrecy.scrub(error, client.api_key)
            raise failure from error
        return _read(response)

    def _client_for(self, request: CallRequest) -> openai.OpenAI:
        if request.api_key is None:
            return self._client
        secrecy.check_key(NAME, request.api_key)
        return self._client.with_options(api_key=request.api_key)

    def _headers(self, request: CallRequest) -> dict[str, str | openai.Omit]:
        headers: dict[str, str | openai.Omit] = {**tags.client_request_id(request)}
        if self._behind_gateway:
            headers |= tags.gateway_headers(request)
        if request.api_key is not None:
            # The platform's organisation (from the environment) means nothing to a tenant's own key.
            headers |= {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        return headers


def _body(request: CallRequest) -> bytes:
    messages: list[dict[str, str]] = [{"role": m.role, "content": m.content} for m in request.messages]
    body: dict[str, Any] = {
        "model": request.model,
        "input": messages,
        "max_output_tokens": request.max_output_tokens,
        "store": False,
        "metadata": tags.metadata(request),
        "safety_identifier": request.end_user,
    }
    if request.output_schema is not None:
        output_format = schemas.openai_format(request.output_schema)
        if output_format is not None:
            body["text"] = {"format": output_format}
        else:
            messages.append({"role": "system", "content": schemas.in_words(request.output_schema)})
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _failure(error: openai.OpenAIError, key: str, *, sent: bool) -> ProviderError:
    if not isinstance(error, openai.APIStatusError):
        return failures.without_answer(NAME, error.__cause__, sent=sent)
    return failures.from_refusal(
        NAME,
        failures.Refusal(
            status=error.status_code,
            codes=failures.words(error.code, error.type),
            text=secrecy.hide(str(error.message), key),
            headers=error.response.headers,
            request_id=error.request_id,
        ),
    )


# ------------------------------------------------------------------------------------------- the answer, as it comes


class _Part(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


class _InputDetails(_Part):
    cached_tokens: NonNegativeInt = 0
    cache_write_tokens: NonNegativeInt = 0


class _OutputDetails(_Part):
    reasoning_tokens: NonNegativeInt = 0


class _Usage(_Part):
    input_tokens: NonNegativeInt
    input_tokens_details: _InputDetails | None = None
    output_tokens: NonNegativeInt
    output_tokens_details: _OutputDetails | None = None


class _Content(_Part):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(_Part):
    type: str
    phase: str | None = None
    content: list[_Content] | None = None


class _Error(_Part):
    code: str
    message: str = ""


class _Incomplete(_Part):
    reason: str | None = None


class _Answer(_Part):
    id: str
    model: str
    status: Literal["completed", "incomplete", "failed"]
    output: list[_Item]
    usage: _Usage | None = None
    error: _Error | None = None
    incomplete_details: _Incomplete | None = None


def _read(response: httpx2.Response) -> CallReply:
    request_id: str | None = response.headers.get("x-request-id")
    try:
        answer = _Answer.model_validate_json(response.content)
    except ValidationError as error:
        raise failures.malformed(NAME, "Responses object", request_id=request_id) from error
    request_id = request_id or answer.id
    if answer.status == "failed":
        raise _failed(answer, request_id)
    if answer.usage is None:
        raise failures.malformed(NAME, "Responses object with its usage", request_id=request_id)
    # "commentary" is what a model says on its way to the answer.
    parts = [
        part
        for item in answer.output
        if item.type == "message" and item.phase != "commentary"
        for part in item.content or ()
    ]
    text = "".join(part.text for part in parts if part.type == "output_text")
    refusal = "".join(part.refusal for part in parts if part.type == "refusal")
    return CallReply(
        text=text or refusal,
        usage=_usage(answer.usage),
        model=answer.model,
        provider_request_id=request_id,
        finish="refusal" if refusal else _finish(answer),
    )


def _failed(answer: _Answer, request_id: str) -> ProviderError:
    """A status of 200 around a failure: its code says what a status would have said."""
    error = answer.error or _Error(code="server_error")
    kinds: dict[str, type[ProviderError]] = {
        "rate_limit_exceeded": ProviderRateLimitedError,
        "server_error": ProviderUnavailableError,
        "vector_store_timeout": ProviderUnavailableError,
    }
    kind = kinds.get(error.code, ProviderRefusedError)
    return kind(f"{error.code}: {error.message[:300]}", provider=NAME, http_status=200, request_id=request_id)


def _usage(usage: _Usage) -> Usage:
    read, written = usage.input_tokens_details or _InputDetails(), usage.output_tokens_details or _OutputDetails()
    return Usage(
        input_tokens=usage.input_tokens,
        cached_input_tokens=read.cached_tokens,
        cache_write_tokens=read.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=written.reasoning_tokens,
    )


def _finish(answer: _Answer) -> Finish:
    if answer.status == "completed":
        return "complete"
    why = answer.incomplete_details.reason if answer.incomplete_details else None
    return "refusal" if why == "content_filter" else "length"
