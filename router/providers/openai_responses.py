"""OpenAI's Responses API, over the official SDK.

The body is written and the answer read here; the SDK carries them (authentication, headers, errors). Its
``responses.create`` walks every argument and builds a model of every field that exists: up to twice the CPU of a call.
"""

from __future__ import annotations

import json
from typing import Any, Final

import httpx2
import openai

from errors import ProviderError
from router.http import secrecy
from router.http.deadline import CallOnTheWire, deadline, http_client, timeouts
from router.providers import bodies, dialects, failures, schemas, tags, tiers
from router.providers.calls import CallReply, CallRequest, Finish
from router.providers.objects import BrokenObjectError, read_object
from router.providers.server import ServerHabits
from router.providers.text import one_line, storable
from router.providers.usage import openai_usage
from router.providers.whole import AnswerLimits

NAME = "openai"
BASE_URL = "https://api.openai.com/v1"

_TEXT_OF: Final = {"output_text": "text", "refusal": "refusal"}
_NOT_AN_ANSWER: Final = ("queued", "in_progress", "cancelled")


class OpenAIResponses:
    """The provider ``openai``. One for a process: building it takes 0.1 s, and threads share its connections."""

    name = NAME

    def __init__(
        self,
        api_key: str,
        base_url: str | None = None,
        limits: AnswerLimits | None = None,
        habits: ServerHabits | None = None,
    ) -> None:
        """``base_url`` names a compatible server or a gateway; OpenAI itself if it is ``None``.

        ``habits`` say how that server deals with calls.

        :raises ProviderAuthError: the key is not valid.
        """
        secrecy.check_key(NAME, api_key)
        self._behind_gateway = base_url is not None
        habits = habits or ServerHabits()
        self._may_have_retried = self._behind_gateway and habits.retries
        self._tags = habits.takes_tags
        self._asks_for_tier = habits.takes_tags or not self._behind_gateway
        # Always given, because the SDK would take it from the environment, past our settings.
        url = base_url or BASE_URL
        self._limits = limits or AnswerLimits()
        self._client = openai.OpenAI(
            api_key=api_key, base_url=url, max_retries=0, http_client=http_client(url, self._limits)
        )

    def call(self, request: CallRequest) -> CallReply:
        """Ask once (see :class:`router.providers.calls.Provider`)."""
        client = self._client_for(request)
        try:
            with deadline(request.timeout_s) as wire:
                response = client.post(
                    "/responses",
                    content=_body(request, tags_too=self._tags, tier_too=self._asks_for_tier),
                    cast_to=httpx2.Response,
                    options={"headers": self._headers(request), "timeout": timeouts(request.timeout_s)},
                )
        except openai.OpenAIError as error:
            failure = _failure(error, client.api_key, wire=wire, may_have_retried=self._may_have_retried)
            secrecy.scrub(error, client.api_key)
            raise failure from error
        except failures.OUR_SIDE as error:
            failure = failures.without_answer(NAME, error, sent=wire.sent, place=wire.place)
            secrecy.scrub(error, client.api_key)
            raise failure from error
        return _read(response, request, self._limits, client.api_key)

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


def _body(request: CallRequest, *, tags_too: bool, tier_too: bool) -> bytes:
    messages: list[dict[str, str]] = [{"role": m.role, "content": m.content} for m in request.messages]
    body: dict[str, Any] = {
        "model": request.model,
        "input": messages,
        "max_output_tokens": request.max_output_tokens,
        "store": False,
    }
    if tier_too:
        body["service_tier"] = tiers.OPENAI_STANDARD
    if tags_too:
        body |= {"metadata": tags.metadata(request), "safety_identifier": request.end_user}
    if request.output_schema is not None:
        output_format = schemas.openai_format(request.output_schema)
        if output_format is not None:
            body["text"] = {"format": output_format}
        if output_format is None or request.output_fault is not None:
            words = schemas.in_words(request.output_schema, request.output_fault)
            messages.append({"role": "system", "content": words})
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _failure(error: openai.OpenAIError, key: str, *, wire: CallOnTheWire, may_have_retried: bool) -> ProviderError:
    if not isinstance(error, openai.APIStatusError):
        return failures.without_answer(NAME, error.__cause__, sent=wire.sent, place=wire.place)
    return failures.from_refusal(
        NAME,
        failures.Refusal(
            status=error.status_code,
            codes=failures.words(error.code, error.type),
            text=bodies.reason_in(error.response.content, **bodies.packaging(error.response), key=key),
            headers=error.response.headers,
            request_id=error.request_id,
        ),
        may_have_retried=may_have_retried,
    )


# ------------------------------------------------------------------------------------------- the answer, as it comes


def _read(response: httpx2.Response, request: CallRequest, limits: AnswerLimits, key: str) -> CallReply:
    request_id = one_line(response.headers.get("x-request-id")) or None
    try:
        answer = read_object(response.content)
    except BrokenObjectError as broken:
        usage = openai_usage(broken.usage_said).usage
        what = _what_came(response, key, broken=str(broken))
        raise failures.malformed(NAME, what, request_id=request_id, usage=usage) from broken
    read = openai_usage(answer.get("usage"), answer.get("service_tier"))
    request_id = request_id or one_line(answer.get("id")) or None
    items = answer.get("output")
    status = answer.get("status")
    told = answer.get("error")
    if status == "failed" or (told and not items):
        raise failures.inside_an_answer(
            NAME,
            told,
            key=key,
            headers=response.headers,
            request_id=request_id,
            usage=read.usage,
        )
    foreign = None if items else dialects.spoken(answer, instead_of="Responses")
    if status in _NOT_AN_ANSWER:
        foreign = f"the answer is not there yet: its status is {status}"
    if foreign or (items is None and read.usage is None) or not isinstance(items, list | None):
        what = foreign or _what_came(response, key, read=answer)
        raise failures.malformed(NAME, what, request_id=request_id, usage=read.usage)
    items = [item for item in items or () if isinstance(item, dict)]
    text, refusal = _texts(items)
    finish = "refusal" if refusal else _finish(status, answer.get("incomplete_details"))
    text = storable(text or refusal)
    if not text.strip() and finish != "refusal":
        kinds = {one_line(item.get("type")) for item in items}
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
    return f"the answer is not a Responses object: {came}"


def _texts(items: list[dict[str, Any]]) -> tuple[str, str]:
    """What the model says, and what it says in refusal."""
    said: dict[str, list[str]] = {"text": [], "refusal": []}
    for item in items:
        parts = item.get("content")
        # "commentary" is what a model says on its way to the answer.
        if item.get("type") != "message" or item.get("phase") == "commentary" or not isinstance(parts, list):
            continue
        for part in parts:
            name = _TEXT_OF.get(one_line(part.get("type"))) if isinstance(part, dict) else None
            if name is not None and isinstance(part.get(name), str):
                said[name].append(part[name])
    return "".join(said["text"]), "".join(said["refusal"])


def _held_instead(kinds: set[str], finish: Finish) -> str:
    if any(kind.endswith("_call") for kind in kinds):
        return "it calls a tool that it was not given"
    cut = ", cut at max_output_tokens" if finish == "length" else ""
    return ("only reasoning" if "reasoning" in kinds else "it is empty") + cut


def _finish(status: Any, details: Any) -> Finish:
    if status != "incomplete":
        return "complete"
    why = details.get("reason") if isinstance(details, dict) else None
    return "refusal" if why == "content_filter" else "length"
