"""Token bounds: never under what a provider was seen to count, whatever the text."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.messages import Message
from router.tokens import CountedTexts, count_o200k, estimate_input_tokens, input_token_bound

ENGLISH = "The harvest was late that year, and the mill stood idle until the rains had filled the race again. " * 40
GERMAN = "Die Mühlenbesitzergenossenschaft beschloss die Instandsetzung der Oberwasserkanalbefestigung. " * 40
ARABIC = "كان الحصاد متأخرا في تلك السنة وبقيت الطاحونة ساكنة حتى امتلأت القناة بالماء مرة أخرى. " * 40
CODE = "def settle(run: Run) -> None:\n    for key, cap in caps.items():\n        cap.spent += run.cost_usd\n" * 40
BASE64 = base64.b64encode(random.Random(7).randbytes(6_000)).decode()

OPENAI = ("openai", "gpt-6-luna")
CLAUDE = ("anthropic", "claude-sonnet-5-5")
UNKNOWN = ("openai", "llama-9-70b")

texts = st.text(max_size=400) | st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode())
conversations = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts), max_size=6)


def user(text: str) -> list[Message]:
    return [Message("user", text)]


def test_count_o200k_counts_each_text_in_order():
    assert count_o200k(["", "hello world", "hello"]) == [0, 2, 1]
    assert count_o200k([]) == []


def test_the_estimate_is_o200k_with_a_frame():
    messages = [Message("system", "hello world"), Message("user", "hello")]

    assert estimate_input_tokens(messages) == 3 + 2 * 4 + 16


# What newer Claude models counted, as a multiple of o200k (and of half the bytes, for base64).
@pytest.mark.parametrize(
    ("text", "factor"),
    [(ENGLISH, 1.6), (CODE, 1.6), (GERMAN, 2.2), (ARABIC, 2.4)],
    ids=["english", "code", "german", "arabic"],
)
def test_claudes_bound_holds_for_the_factors_seen(text, factor):
    assert input_token_bound(*CLAUDE, user(text)) >= factor * count_o200k([text])[0]


def test_claudes_bound_holds_for_base64():
    assert input_token_bound(*CLAUDE, user(BASE64)) >= 1.89 * len(BASE64) / 2


@given(conversations)
def test_a_bound_is_at_least_the_tokenizer_and_the_frame(messages):
    floor = estimate_input_tokens(messages)

    for family in (OPENAI, CLAUDE):
        assert input_token_bound(*family, messages) >= floor


@given(conversations)
def test_an_unknown_family_gets_the_dearest_bound(messages):
    dearest = input_token_bound(*UNKNOWN, messages)

    assert dearest >= input_token_bound(*OPENAI, messages)
    assert dearest >= input_token_bound(*CLAUDE, messages)


@given(conversations, texts)
def test_one_more_message_never_lowers_a_bound(messages, text):
    for family in (OPENAI, CLAUDE, UNKNOWN):
        assert input_token_bound(*family, [*messages, Message("user", text)]) > input_token_bound(*family, messages)


@pytest.mark.parametrize("family", [OPENAI, CLAUDE, UNKNOWN])
def test_a_schema_costs_its_text_twice_and_a_hidden_prompt(family):
    schema = {"type": "object", "properties": {f"field_{n}": {"type": "string"} for n in range(50)}}
    bare = input_token_bound(*family, user("hello"))

    assert input_token_bound(*family, user("hello"), schema) >= bare + 2 * count_o200k([str(schema)])[0]
    assert input_token_bound(*family, user("hello"), {}) >= bare + 300


@pytest.mark.parametrize(
    ("provider", "model", "known"),
    [
        ("openai", "gpt-6.1-sol", True),
        ("openai", "gpt-4o-mini", True),
        ("openai", "o3", True),
        ("openai", "gpt-12", True),
        ("openai", "gpt-4", False),
        ("openai", "gpt-3.5-turbo", False),
        ("openai", "claude-sonnet-5-5", False),
        ("anthropic", "claude-haiku-5-5", True),
        ("anthropic", "gpt-6-luna", False),
        ("elsewhere", "gpt-6-luna", False),
    ],
)
def test_a_family_is_known_by_provider_and_model(provider, model, known):
    dearest = input_token_bound(*UNKNOWN, user(ENGLISH))

    assert (input_token_bound(provider, model, user(ENGLISH)) < dearest) is known


def test_a_lone_surrogate_can_be_counted():
    assert input_token_bound(*CLAUDE, user("a\ud800b")) == input_token_bound(*CLAUDE, user("a?b"))


def test_texts_that_were_counted_together_have_the_tokens_that_they_have_alone() -> None:
    texts = ["", "hello", "hello", "größer als 1e3", "word " * 500, "a\ud800b"]
    counted = CountedTexts()
    counted.add(texts[:3])

    assert counted(texts) == [count_o200k([text])[0] for text in texts]
    for family in (OPENAI, CLAUDE, UNKNOWN):
        messages = [Message("user", text) for text in texts if text]
        schema = {"type": "object", "description": "größer"}
        assert input_token_bound(*family, messages, schema, count=counted) == input_token_bound(
            *family, messages, schema
        )
