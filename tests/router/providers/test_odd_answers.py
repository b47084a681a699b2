"""The catalogue of odd answers, over real HTTP and the real SDKs: each comes to what it must, and to its true cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from errors import ProviderError
from router.providers.text import NAME_LENGTH
from tests.router.providers.conftest import Told, build_adapter, told_server
from tests.support.odd_answers import NOTHING, ODD_ANSWERS, Odd


@pytest.fixture(scope="module")
def server() -> Iterator[Told]:
    """One server for all, and one adapter of each provider: building them costs more than a case does."""
    with told_server() as told:
        yield told


@pytest.fixture(scope="module")
def adapters(server: Told) -> dict[str, Any]:
    return {provider: build_adapter(provider, server.url) for provider in ("openai", "anthropic")}


@pytest.mark.parametrize("odd", ODD_ANSWERS, ids=str)
def test_an_odd_answer_comes_to_what_it_must(odd: Odd, server: Told, adapters: dict[str, Any], ask: Any) -> None:
    server.answer(odd.body)
    adapter = adapters[odd.provider]

    if odd.error is None:
        reply = adapter.call(ask())

        assert (reply.text, reply.usage, reply.usage_fault) == (odd.text, odd.usage, odd.fault)
        assert reply.model and len(reply.model) <= NAME_LENGTH
        assert len(reply.provider_request_id or "") <= NAME_LENGTH
        assert (reply.model + (reply.provider_request_id or "")).isprintable()
        return
    with pytest.raises(ProviderError) as caught:
        adapter.call(ask())
    assert type(caught.value) is odd.error
    assert odd.says in caught.value.message
    assert len(caught.value.message) < 500 and caught.value.message.isprintable()
    booked = (caught.value.billable, caught.value.usage)
    assert booked == ((False, None) if odd.usage == NOTHING else (True if odd.usage else None, odd.usage))


def test_the_catalogue_is_large_and_each_case_has_its_own_name() -> None:
    assert len({str(odd) for odd in ODD_ANSWERS}) == len(ODD_ANSWERS) >= 150
