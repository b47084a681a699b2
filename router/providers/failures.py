"""Every way a call can fail, put into our words once for both SDKs (they are built alike, but share no class)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx2

from errors import (
    ProviderAnswerLostError,
    ProviderAuthError,
    ProviderError,
    ProviderMalformedAnswerError,
    ProviderNotSentError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ProviderUnreachableError,
)

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
# A gateway in front gave up waiting: the model may well have answered, and billed.
_GATEWAY_GAVE_UP = frozenset({504, 524})
# Not errors of the request: a lock or a slow upload, gone at the next try.
_PASSING = frozenset({408, 409})

# What the network or a proxy does to a request before any of it has left. All else that stops it there is ours.
_NO_CONNECTION = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error. ``codes`` are the words a provider has for it; ``text`` is free of keys."""

    status: int
    codes: frozenset[str]
    text: str
    headers: Mapping[str, str]
    request_id: str | None


def words(*values: object) -> frozenset[str]:
    """Those of the values that are words: an SDK hands on whatever JSON a server put in the place of its codes."""
    return frozenset(value for value in values if isinstance(value, str))


def without_answer(provider: str, cause: BaseException | None, *, sent: bool) -> ProviderError:
    """The error of a call that got no whole answer.

    ``cause`` is the HTTP client's own exception, if it is known; ``sent``: whether any byte of the request left.
    """
    if not sent and isinstance(cause, _NO_CONNECTION):
        unreachable = ProviderUnreachableError(f"no connection ({type(cause).__name__})", provider=provider)
        unreachable.timed_out = isinstance(cause, httpx2.TimeoutException)
        return unreachable
    if not sent:
        return ProviderNotSentError(f"the request was not sent ({type(cause).__name__})", provider=provider)
    if isinstance(cause, httpx2.TimeoutException):
        return ProviderTimeoutError(f"no whole answer in time ({type(cause).__name__})", provider=provider)
    if isinstance(cause, httpx2.DecodingError):
        return ProviderMalformedAnswerError("the answer's compression is broken", provider=provider)
    return ProviderAnswerLostError(f"the connection broke ({type(cause).__name__})", provider=provider)


def from_refusal(provider: str, refusal: Refusal) -> ProviderError:
    """The error that a refusal means to us."""
    return _kind(refusal)(
        f"HTTP {refusal.status}: {refusal.text[:_TEXT_LENGTH]}",
        provider=provider,
        http_status=refusal.status,
        retry_after_s=retry_after_s(refusal.headers),
        request_id=refusal.request_id,
    )


def malformed(provider: str, what: str, *, request_id: str | None) -> ProviderMalformedAnswerError:
    """The error of an answer with status 200 that is not what it must be."""
    return ProviderMalformedAnswerError(
        f"the answer is no {what}", provider=provider, http_status=200, request_id=request_id
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds that a provider asks us to wait, by whichever of the usual headers; ``None`` if it does not say."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    raw = headers.get("retry-after")
    seconds = _number(raw)
    if seconds is not None or raw is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(raw).timestamp() - time.time())
    except ValueError:
        return None


def _kind(refusal: Refusal) -> type[ProviderError]:
    status = refusal.status
    if status == 402 or refusal.codes & _NO_MONEY_LEFT or "credit balance is too low" in refusal.text.lower():
        return ProviderQuotaError
    if status == 429:
        return ProviderRateLimitedError
    if status in {401, 403}:
        return ProviderAuthError
    if status in _GATEWAY_GAVE_UP:
        return ProviderAnswerLostError
    if status >= 500 or status in _PASSING:
        return ProviderUnavailableError
    return ProviderRefusedError


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
