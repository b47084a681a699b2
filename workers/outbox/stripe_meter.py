"""Stripe's meter events, over the official SDK: the only file that knows it.

The SDK writes the request and reads the answer; its connections obey our deadline, and its retries are off: a retry is
the outbox's, with the same identifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import stripe

from errors import (
    BillerAnswerLostError,
    BillerAuthError,
    BillerError,
    BillerRefusedError,
    BillerUnavailableError,
    ConfigurationError,
)
from router.http.deadline import deadline, http_client, timeouts
from router.http.retry_after import retry_after_s
from router.http.secrecy import scrub
from router.providers.failures import without_answer

BASE_URL = "https://api.stripe.com"
TIMEOUT_S = 15.0

_KEY = re.compile(r"[!-~]+")
_TEXT_LENGTH = 300
# What Stripe answers to an identifier that it has: a code by its documentation, in practice often the sentence alone.
_HAS_IT_CODE = "duplicate_meter_event"
_HAS_IT = "already exists with identifier"
# The SDK reads what is an error to it with bare hands: an answer that is not Stripe's makes it stumble.
_STUMBLES = (AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """One event: so much (``value``, whole) for a customer at an instant (``timestamp``, s since 1970)."""

    identifier: str
    customer: str
    value: int
    timestamp: int


class StripeMeter:
    """One meter at Stripe. One for a process; threads may share it."""

    def __init__(
        self, api_key: str, *, event_name: str, base_url: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        """:param event_name: the meter's own.
        :param base_url: a compatible server; Stripe itself if None.
        :param timeout_s: the total time of one call, s.
        :raises ConfigurationError: the key cannot be one.
        """
        if not _KEY.fullmatch(api_key):
            raise ConfigurationError(
                "is empty or holds white space or characters beyond ASCII",
                field="HEADRACE_STRIPE_API_KEY",
                hint="Was a line break copied with it?",
            )
        stripe.enable_telemetry = False  # it would tell of this machine, and keep an id in the home directory
        url = base_url or BASE_URL
        self._api_key = api_key
        self._event_name = event_name
        self._http = _Connections(url, api_key, timeout_s)
        self._client = stripe.StripeClient(
            api_key, base_addresses={"api": url.rstrip("/")}, max_network_retries=0, http_client=self._http
        )

    def record(self, event: MeterEvent) -> bool:
        """Tell Stripe of an event; False when it had it already.

        :raises BillerError: Stripe did not take it (see each kind); whether it has it, ``received`` says.
        """
        try:
            answer = self._client.v1.billing.meter_events.create(
                {
                    "event_name": self._event_name,
                    "identifier": event.identifier,
                    "timestamp": event.timestamp,
                    "payload": {"stripe_customer_id": event.customer, "value": str(event.value)},
                }
            )
            identifier = answer.identifier
        except (stripe.StripeError, *_STUMBLES) as error:
            if _has_it(error, event.identifier):
                return False
            failure = _failure(error)
            _make_harmless(error, self._api_key)
            raise failure from error
        if identifier != event.identifier:
            raise BillerAnswerLostError("the answer is of no meter event, or of another")
        return True

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class _Connections(stripe.HTTPClient):
    """The SDK's way to the network: ours, with a deadline on the whole call.

    A key that an answer quotes is taken out here, for the SDK logs whole answers.
    """

    name = "httpx2"

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        super().__init__()
        self._key = key.encode()
        self._client = http_client(url)
        self._timeout_s = timeout_s

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[Any, int, Mapping[str, str]]:
        try:
            with deadline(self._timeout_s) as wire:
                answer = self._client.request(
                    method, url, headers=headers, content=post_data, timeout=timeouts(self._timeout_s)
                )
        except httpx2.HTTPError as error:
            message = f"no answer ({type(error).__name__})"
            raise stripe.APIConnectionError(message, should_retry=not wire.sent) from error  # type: ignore[no-untyped-call]
        return answer.content.replace(self._key, b"[key]"), answer.status_code, answer.headers

    def close(self) -> None:
        self._client.close()


def _has_it(error: Exception, identifier: str) -> bool:
    """Whether the refusal is that Stripe has an event of this identifier."""
    if not isinstance(error, stripe.InvalidRequestError):
        return False
    text = _text(error)
    return error.code == _HAS_IT_CODE or (_HAS_IT in text and identifier in text)


def _failure(error: Exception) -> BillerError:
    """Stripe's exception in our words. Only a refusal says for sure that nothing was recorded."""
    if isinstance(error, stripe.APIConnectionError):
        sent = not error.should_retry
        kind = BillerAnswerLostError if sent else BillerUnavailableError
        return kind(without_answer("stripe", error.__cause__, sent=sent).message)
    status = error.http_status if isinstance(error, stripe.StripeError) else None
    if status is None or not isinstance(error, stripe.StripeError):
        return BillerAnswerLostError("the answer is none of Stripe's")
    return _kind(status)(
        f"HTTP {status}: {_text(error)[:_TEXT_LENGTH]}",
        http_status=status,
        retry_after_s=retry_after_s(error.headers or {}),
        request_id=error.request_id,
    )


def _make_harmless(error: Exception, key: str) -> None:
    """Make the SDK's exception fit to be a cause: what it prints stays, all else goes (it knows the request)."""
    kept = {name: getattr(error, name, None) for name in ("http_status", "param", "code", "request_id")}
    text = _text(error) if isinstance(error, stripe.StripeError) else None
    scrub(error, key)
    if text is not None:
        vars(error).update(kept, _message=text)


def _kind(status: int) -> type[BillerError]:
    if status in {401, 403}:
        return BillerAuthError
    if status in {409, 429}:
        return BillerUnavailableError
    if 400 <= status < 500 and status != 408:
        return BillerRefusedError
    return BillerAnswerLostError


def _text(error: stripe.StripeError) -> str:
    """What Stripe says; the SDK hands on whatever JSON stands in its place."""
    return str(error.user_message or "no reason given")
