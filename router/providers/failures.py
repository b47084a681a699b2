"""Every way in which a call can fail, as our errors, once for both SDKs (they are built alike, but share no class)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from errors import (
    ProviderAnswerLostError,
    ProviderAnswerTooLargeError,
    ProviderAuthError,
    ProviderEmptyAnswerError,
    ProviderError,
    ProviderForbiddenError,
    ProviderMalformedAnswerError,
    ProviderNotSentError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderRequestTooLargeError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)
from router.http.retry_after import retry_after_s
from router.http.secrecy import hide
from router.providers.bodies import reason_of
from router.providers.calls import Usage, is_simulated
from router.providers.connections import why_it_broke, why_not_connected
from router.providers.text import one_line
from router.providers.whole import TooLargeError

_TEXT_LENGTH = 300

_NO_MONEY_LEFT = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
    }
)
# A gateway in front stopped waiting, or could not read the answer: the model may well have answered, and billed.
_GATEWAY_GAVE_UP = frozenset({504, 520, 524})
# A gateway's own failure, perhaps after answers that it could not use: they may have been billed.
_AFTER_RETRIES: Final = frozenset({500, 502})
_OF_THE_KEY: Final = frozenset({"authentication_error", "invalid_api_key"})
_TOO_LARGE: Final = frozenset({"request_too_large", "context_length_exceeded"})
# The codes of errors inside a body, as the status that each would have had.
_STATUS_OF_WORD: Final = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "overloaded_error": 529,
    "timeout_error": 504,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "context_length_exceeded": 400,
}
# A code with one of these words in it is about the request; any other may pass by itself.
_SPEAKS_OF_THE_REQUEST: Final = ("invalid", "unsupported", "not_found", "too_large", "policy")
# Not errors of the request: a lock or a slow upload, gone at the next try.
_PASSING = frozenset({408, 409})

# Failures of the network or a proxy before any byte of a request has left. Every other failure before that is ours.
_NO_CONNECTION = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
#: Errors of Python and the HTTP client where a request is built and the SDK does not wrap them.
OUR_SIDE: Final = (
    ArithmeticError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error. ``codes`` are the provider's words for it; ``text`` is free of keys."""

    status: int
    codes: frozenset[str]
    text: str
    headers: Mapping[str, str]
    request_id: str | None


def words(*values: object) -> frozenset[str]:
    """The values that are texts: an SDK passes on any JSON that a server put in place of its codes."""
    return frozenset(value for value in values if isinstance(value, str))


def without_answer(provider: str, cause: BaseException | None, *, sent: bool, place: str = "") -> ProviderError:
    """The error of a call that got no whole answer.

    ``cause`` is the HTTP client's own exception, if it is known; ``sent``: whether any byte of the request left;
    ``place``: the host and port that it was for.
    """
    if not sent and isinstance(cause, _NO_CONNECTION):
        unreachable = ProviderUnreachableError(why_not_connected(cause, place), provider=provider)
        unreachable.timed_out = isinstance(cause, httpx2.TimeoutException)
        return unreachable
    if not sent:
        return ProviderNotSentError(f"the request was not sent: {_why_not_sent(cause)}", provider=provider)
    if isinstance(cause, TooLargeError):
        return ProviderAnswerTooLargeError(f"the answer was not read to its end: {cause}", provider=provider)
    if isinstance(cause, httpx2.TimeoutException):
        return ProviderTimeoutError(f"no whole answer of {place or 'the server'} in time", provider=provider)
    if isinstance(cause, httpx2.DecodingError):
        return ProviderMalformedAnswerError(f"the answer cannot be unpacked: {cause}", provider=provider)
    return ProviderAnswerLostError(why_it_broke(cause, place), provider=provider)


def _why_not_sent(cause: BaseException | None) -> str:
    if isinstance(cause, httpx2.LocalProtocolError):
        return "one of its headers cannot travel"
    if isinstance(cause, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return "its base URL cannot be used"
    return f"it could not be written ({type(cause).__name__})"


def from_refusal(provider: str, refusal: Refusal, *, may_have_retried: bool = False) -> ProviderError:
    """Our error for a refusal.

    ``may_have_retried``: a gateway answered it, which may have asked the provider before, and again, by itself.
    """
    kind = _kind(refusal)
    if may_have_retried and refusal.status in _AFTER_RETRIES and not is_simulated(refusal.request_id):
        kind = ProviderAnswerLostError
    return kind(
        f"HTTP {refusal.status}: {one_line(refusal.text, _TEXT_LENGTH)}",
        provider=provider,
        http_status=refusal.status,
        retry_after_s=retry_after_s(refusal.headers),
        request_id=one_line(refusal.request_id) or None,
    )


def inside_an_answer(
    provider: str, error: Any, *, key: str, headers: Mapping[str, str], request_id: str | None, usage: Usage | None
) -> ProviderError:
    """The error inside a body with status 200: gateways send such bodies, with the intended status as the error's code.

    ``error`` is the JSON in the error's place; ``key`` must not show. Nothing was charged unless a usage says so.
    """
    said = error if isinstance(error, Mapping) else {"message": error}
    given = [said.get(name) for name in ("code", "type", "status")]
    codes = words(*(value.lower() if isinstance(value, str) else value for value in given))
    message = one_line(hide(reason_of(said), key), _TEXT_LENGTH)
    told = ", ".join(filter(None, (hide(_word(value), key) for value in given[:2])))
    refusal = Refusal(
        status=_status_meant(given, codes), codes=codes, text=message, headers=headers, request_id=request_id
    )
    if usage is not None and not (usage.input_tokens or usage.output_tokens):
        usage = None
    return _kind(refusal)(
        f"an error under status 200: {told}: {message}" if told else f"an error under status 200: {message}",
        provider=provider,
        http_status=200,
        retry_after_s=retry_after_s(headers),
        request_id=request_id,
        usage=usage,
    )


def malformed(
    provider: str, what: str, *, request_id: str | None, usage: Usage | None = None
) -> ProviderMalformedAnswerError:
    """The error for an answer with status 200 that is not valid."""
    return ProviderMalformedAnswerError(what, provider=provider, http_status=200, request_id=request_id, usage=usage)


def too_much_text(provider: str, limit: int, *, request_id: str | None, usage: Usage | None) -> ProviderError:
    """The error of an answer whose text is longer than a text may be."""
    return ProviderAnswerTooLargeError(
        f"its text has more than {limit} characters",
        provider=provider,
        http_status=200,
        request_id=request_id,
        usage=usage,
    )


def without_text(provider: str, why: str, *, request_id: str | None, usage: Usage | None) -> ProviderError:
    """The error for an answer without text; ``why`` says what it holds instead."""
    return ProviderEmptyAnswerError(
        f"the answer holds no text: {why}", provider=provider, http_status=200, request_id=request_id, usage=usage
    )


def _word(value: object) -> str:
    """A code as it may appear in a message: a word, or a number of few digits."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9
    return str(value) if is_number else one_line(value)


def _status_meant(given: list[Any], codes: frozenset[str]) -> int:
    for value in given:
        if isinstance(value, str) and len(value) == 3 and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    for word in codes:
        if word in _STATUS_OF_WORD:
            return _STATUS_OF_WORD[word]
    return 400 if any(sign in word for word in codes for sign in _SPEAKS_OF_THE_REQUEST) else 500


def _kind(refusal: Refusal) -> type[ProviderError]:
    status = refusal.status
    if status == 402 or refusal.codes & _NO_MONEY_LEFT or "credit balance is too low" in refusal.text.lower():
        return ProviderQuotaError
    if refusal.codes & _TOO_LARGE or status == 413 or (status == 429 and "request too large" in refusal.text.lower()):
        return ProviderRequestTooLargeError
    if status == 429:
        return ProviderRateLimitedError
    if (status == 401 and not _is_a_page(refusal)) or refusal.codes & _OF_THE_KEY:
        return ProviderAuthError
    if status in {401, 403}:
        return ProviderForbiddenError
    if status in _GATEWAY_GAVE_UP:
        return ProviderAnswerLostError
    if status >= 500 or status in _PASSING:
        return ProviderUnavailableError
    return ProviderRefusedError


def _is_a_page(refusal: Refusal) -> bool:
    """Whether this is a page for people: neither provider answers with a page, so a gateway or a firewall did."""
    return refusal.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml"))
