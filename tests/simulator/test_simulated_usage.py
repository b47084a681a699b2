"""Usage is counted from the text that was sent and returned, and the prompt cache is part of it."""

from __future__ import annotations

import json
import math

import pytest
import toktok

LONG = "You answer questions about the sea, in full sentences. " * 120


def o200k(*texts: str) -> int:
    return sum(toktok.batch_count(list(texts), "o200k_base"))


def claude(tokens: int) -> int:
    return math.ceil(1.5 * tokens)


@pytest.mark.parametrize("question", ["Hi", "Was kostet die Überweisung nach Århus? " * 40, "日本語のテキスト " * 30])
def test_openai_counts_o200k_and_four_a_message(ask_openai, question):
    response = ask_openai(question, instructions="Be brief.")

    counted = o200k("Be brief.", question) + 2 * 4
    assert counted < response.usage.input_tokens <= counted + 16
    assert response.usage.output_tokens == o200k(response.output_text)
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_openai_counts_every_message_of_a_conversation_the_same(ask_openai):
    said = ["Hello there.", "Good day to you.", "What is dew?"]
    roles = ["user", "assistant", "user"]
    response = ask_openai([{"role": role, "content": text} for role, text in zip(roles, said, strict=True)])

    counted = o200k(*said) + 3 * 4
    assert counted < response.usage.input_tokens <= counted + 16


def test_openai_counts_the_schema_as_input(ask_openai):
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "the answer " * 30}}}
    without = ask_openai("Hello")
    response = ask_openai("Hello", text={"format": {"type": "json_schema", "name": "x", "schema": schema}})

    grown = response.usage.input_tokens - without.usage.input_tokens
    assert grown == o200k(json.dumps(schema, separators=(",", ":")))


@pytest.mark.parametrize(
    "question", ["a", "Hi", "Was kostet die Überweisung? " * 40, "日本語のテキスト " * 30, "x" * 999]
)
def test_anthropic_counts_half_as_much_again_within_the_documented_bound(ask_anthropic, question):
    system = "Be brief."
    message = ask_anthropic(question, system=system)

    tokens, size = o200k(system, question), len((system + question).encode())
    assert message.usage.input_tokens == claude(tokens)
    assert message.usage.input_tokens <= min(math.ceil(1.6 * size), math.ceil(2.5 * tokens) + 64)
    assert message.usage.output_tokens == claude(o200k(message.content[0].text))


def test_longer_questions_cost_more(ask_openai):
    small, large = ask_openai("What is dew?"), ask_openai("What is dew? " * 50)

    assert small.usage.input_tokens < large.usage.input_tokens


def test_openai_caches_a_long_prefix_and_counts_it_in(ask_openai):
    model = "gpt-5.4-nano"
    first = ask_openai("What is a tide?", instructions=LONG, model=model)
    second = ask_openai("What is a wave?", instructions=LONG, model=model)

    assert first.usage.input_tokens_details.cached_tokens == 0
    cached = second.usage.input_tokens_details.cached_tokens
    assert 1_024 <= cached <= o200k(LONG)
    assert cached % 128 == 0
    assert second.usage.input_tokens > cached


def test_openai_keeps_the_cache_apart_by_model_and_bills_writes_since_gpt_5_6(ask_openai):
    old = ask_openai("What is salt?", instructions=LONG + "Be brief.", model="gpt-5.4-nano")
    new = ask_openai("What is salt?", instructions=LONG + "Be brief.", model="gpt-5.6-luna")

    assert old.usage.input_tokens_details.cache_write_tokens == 0
    assert new.usage.input_tokens_details.cached_tokens == 0
    assert new.usage.input_tokens_details.cache_write_tokens >= 1_024


def test_openai_does_not_cache_a_short_prefix(ask_openai):
    for _ in range(2):
        response = ask_openai("What is a reef?", instructions="Be brief, and answer about the sea.")

    assert response.usage.input_tokens_details.cached_tokens == 0


def test_anthropic_caches_what_is_marked_and_counts_it_apart(ask_anthropic):
    system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
    first = ask_anthropic("What is a tide?", system=system).usage
    second = ask_anthropic("What is a wave?", system=system).usage

    prefix = claude(o200k(LONG))
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens) == (prefix, 0)
    assert first.cache_creation.ephemeral_5m_input_tokens == prefix
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (0, prefix)
    assert second.input_tokens + prefix == claude(o200k(LONG, "What is a wave?"))


def test_anthropic_reads_the_longest_known_prefix_and_writes_the_rest(ask_anthropic):
    one_hour = {"type": "ephemeral", "ttl": "1h"}
    shared = {"type": "text", "text": LONG + "Shared.", "cache_control": {"type": "ephemeral"}}
    own = {"type": "text", "text": "Only about reefs. " * 50, "cache_control": one_hour}
    ask_anthropic("What is a reef?", system=[shared])
    usage = ask_anthropic("What is a reef?", system=[shared, own]).usage

    assert usage.cache_read_input_tokens == claude(o200k(shared["text"]))
    assert usage.cache_creation.ephemeral_1h_input_tokens > 0
    assert usage.cache_creation.ephemeral_5m_input_tokens == 0
    total = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert total == claude(o200k(shared["text"], own["text"], "What is a reef?"))


def test_anthropic_caches_nothing_that_is_not_marked(ask_anthropic):
    for _ in range(2):
        usage = ask_anthropic("What is a gulf?", system=LONG).usage

    assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_the_journal_has_the_whole_input_of_both(ask_openai, ask_anthropic, simulator):
    marked = [{"type": "text", "text": LONG + "!", "cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        response = ask_openai("Hi", instructions=LONG + "!")
        message = ask_anthropic("Hi", system=marked)

    openai_entry, anthropic_entry = simulator.journal()[-2:]
    assert openai_entry["input_tokens"] == response.usage.input_tokens
    assert openai_entry["cached_input_tokens"] == response.usage.input_tokens_details.cached_tokens > 0
    assert openai_entry["output_tokens"] == response.usage.output_tokens
    read = message.usage.cache_read_input_tokens
    assert anthropic_entry["input_tokens"] == message.usage.input_tokens + read
    assert anthropic_entry["cached_input_tokens"] == read > 0
    assert anthropic_entry["output_tokens"] == message.usage.output_tokens


@pytest.mark.parametrize(
    ("asked", "told"),
    [(None, "flex"), ("auto", "flex"), ("default", "default"), ("fast", "priority"), ("flex", "flex")],
)
def test_openai_tells_the_tier_that_was_asked_for_or_the_accounts_own(simulator, ask_openai, asked, told):
    simulator.behave(openai={"service_tier": "flex"})
    try:
        given = {} if asked is None else {"service_tier": asked}
        assert ask_openai("Hi", **given).service_tier == told
    finally:
        simulator.behave(openai={"service_tier": None})
    assert ask_openai("Hi").service_tier == "default"


@pytest.mark.parametrize(("asked", "told"), [(None, "priority"), ("auto", "priority"), ("standard_only", "standard")])
def test_anthropic_does_so_too(simulator, ask_anthropic, asked, told):
    simulator.behave(anthropic={"service_tier": "priority"})
    try:
        given = {} if asked is None else {"service_tier": asked}
        assert ask_anthropic("Hi", **given).usage.service_tier == told
    finally:
        simulator.behave(anthropic={"service_tier": None})
    assert ask_anthropic("Hi").usage.service_tier == "standard"
