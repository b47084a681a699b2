"""A key shows nowhere: not in an error, its causes, a traceback, a repr or a log, though a server quotes it back."""

from __future__ import annotations

import logging
import traceback

import pytest

from errors import ProviderAuthError, ProviderError, ProviderMalformedAnswerError, ProviderUnreachableError
from tests.router.providers.conftest import ADAPTERS, OWN_KEY, PLATFORM_KEY
from tests.support.shown import everything_shown


@pytest.mark.parametrize("own", [False, True], ids=["platform's", "own"])
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_refusal_that_quotes_the_key_does_not_show_it(provider, adapter_to, told, ask, caplog, status, own):
    caplog.set_level(logging.DEBUG)
    key = OWN_KEY if own else PLATFORM_KEY
    message = f"Incorrect API key provided: {key}. Find yours at the provider's console."
    told.answer({"error": {"type": "some_error", "message": message}, "echo": key}, status)
    adapter = adapter_to(provider, told.url)
    request = ask(api_key=OWN_KEY if own else None)

    with pytest.raises(ProviderError) as caught:
        adapter.call(request)

    assert "Incorrect API key provided: [key]" in caught.value.message
    assert key not in everything_shown(caught.value)
    assert key not in str(caught.value.as_dict())
    assert key not in caplog.text
    assert key not in repr(request) + repr(adapter)


def test_an_answer_that_quotes_the_key_does_not_show_it(provider, adapter_to, told, ask, caplog):
    caplog.set_level(logging.DEBUG)
    told.answer(f'{{"id": 5, "model": "{PLATFORM_KEY}"'.encode())

    with pytest.raises(ProviderMalformedAnswerError) as caught:
        adapter_to(provider, told.url).call(ask())

    assert PLATFORM_KEY not in "".join(traceback.format_exception(caught.value))
    assert PLATFORM_KEY not in caplog.text


def test_a_lost_connection_does_not_show_the_key(provider, adapter_to, wire, ask, caplog):
    caplog.set_level(logging.DEBUG)
    server = wire(lambda connection: connection.recv(10))

    with pytest.raises(ProviderError) as caught:
        adapter_to(provider, server.url).call(ask(api_key=OWN_KEY))

    assert OWN_KEY not in everything_shown(caught.value)
    assert OWN_KEY not in caplog.text


def test_a_request_that_gets_no_further_than_its_headers_does_not_show_the_key(provider, adapter_to, told, ask):
    told.answer({}, 400)
    adapter = adapter_to(provider, told.url)
    with pytest.raises(ProviderError):
        adapter.call(ask())

    # On the connection that is open already, the deadline strikes where the headers are about to be written.
    with pytest.raises(ProviderUnreachableError) as caught:
        adapter.call(ask(api_key=OWN_KEY, timeout_s=0.0))

    assert caught.value.timed_out
    assert len(told.requests) == 1
    assert OWN_KEY not in everything_shown(caught.value)


@pytest.mark.parametrize("key", [f"{OWN_KEY}\n", f"{OWN_KEY} x", f"{OWN_KEY}€", f"{OWN_KEY}\r\nx-evil: 1", ""])
def test_a_key_that_cannot_travel_is_refused_unseen(provider, adapter_to, told, ask, caplog, key):
    caplog.set_level(logging.DEBUG)

    with pytest.raises(ProviderAuthError) as caught:
        adapter_to(provider, told.url).call(ask(api_key=key))
    with pytest.raises(ProviderAuthError):
        ADAPTERS[provider](key)

    assert told.requests == []
    assert OWN_KEY not in str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert OWN_KEY not in caplog.text
