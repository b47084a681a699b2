"""The tier that is priced is asked for, and the one that came back is told."""

from __future__ import annotations

from typing import Any

import pytest

from router.providers.server import ServerHabits
from router.providers.tiers import other_tier, priced_as
from tests.router.providers.conftest import ADAPTERS, PLATFORM_KEY

STANDARD = {"openai": "default", "anthropic": "standard_only"}


def with_tier(provider: str, answer: dict[str, Any], tier: Any) -> dict[str, Any]:
    """The answer, with this tier where the provider tells it."""
    (answer if provider == "openai" else answer["usage"])["service_tier"] = tier
    return answer


def test_the_standard_tier_is_asked_for(provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())

    adapter_to(provider, told.url).call(ask())

    assert told.last_body["service_tier"] == STANDARD[provider]


def test_the_provider_itself_is_asked_for_it_whatever_a_gateway_takes(provider):
    habits = ServerHabits(takes_tags=False)

    assert ADAPTERS[provider](PLATFORM_KEY, habits=habits)._asks_for_tier
    assert not ADAPTERS[provider](PLATFORM_KEY, "http://gateway", habits=habits)._asks_for_tier


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        (None, None),
        ("default", None),
        ("standard", None),
        ("auto", None),
        ("on_demand", None),
        ("", None),
        (5, None),
        (["priority"], None),
        ("priority", "priority"),
        ("Flex", "flex"),
        ("batch", "batch"),
        ("ultrafast", "ultrafast"),
        ("x" * 1_000_000, "x" * 40),
        ("a\x00b\n", "a b"),
    ],
)
def test_another_tier_that_came_back_is_told(provider, adapter_to, told, ask, an_answer, said, tier):
    told.answer(with_tier(provider, an_answer(), said))

    reply = adapter_to(provider, told.url).call(ask())

    assert reply.usage.tier == tier
    assert reply.usage_fault is None


def test_a_fast_answer_of_claude_is_another_tier(adapter_to, told, ask):
    answer = with_tier("anthropic", {"usage": {"input_tokens": 9, "output_tokens": 4}}, "standard")
    answer["usage"]["speed"] = "fast"
    answer |= {"type": "message", "content": [{"type": "text", "text": "fine"}]}
    told.answer(answer)

    assert adapter_to("anthropic", told.url).call(ask()).usage.tier == "fast"


def test_what_each_tier_costs():
    assert [priced_as(other_tier(said)) for said in ("default", "auto", None)] == [None, None, None]
    assert [priced_as(other_tier(said)) for said in ("flex", "batch")] == ["batch", "batch"]
    assert [priced_as(other_tier(said)) for said in ("priority", "scale", "of tomorrow")] == ["reserved"] * 3
