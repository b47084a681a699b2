"""Anthropic's Messages API as its SDK sees it."""

from __future__ import annotations

import json

import anthropic
import pytest
from anthropic.types import Message
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from tests.simulator.conftest import shipped_models

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["parties", "cap"],
    "properties": {"parties": {"type": "array", "items": {"type": "string"}}, "cap": {"type": "string"}},
}
CLAUSE = (
    "The Supplier shall notify the Customer of any breach within 72 hours. The Supplier's liability shall not exceed"
    " EUR 250,000 a year. Either party may terminate with thirty (30) days' notice after 1 January 2026."
)


def strictly(message: Message) -> Message:
    """The SDK builds replies without checking them; this checks."""
    return Message.model_validate(message.to_dict(mode="json"), strict=False)


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_clause_is_summarised_from_its_own_words(ask_anthropic):
    message = strictly(ask_anthropic(CLAUSE, system="You summarise contract clauses."))

    assert message.stop_reason == "end_turn"
    for fact in ("EUR 250,000", "72 hours", "1 January 2026", "Supplier"):
        assert fact in text_of(message)


def test_the_headings_that_the_prompt_asks_for_are_used(ask_anthropic):
    system = "You summarise a contract clause.\n\n### Obligations\nOne bullet each.\n\n### Dates\nOne bullet each."
    text = text_of(ask_anthropic(CLAUSE, system=system))

    assert text.startswith("### Obligations\n- ")
    assert "### Dates\n- 1 January 2026" in text


def test_a_schema_is_followed(ask_anthropic):
    output = {"format": {"type": "json_schema", "schema": SCHEMA}}
    message = strictly(ask_anthropic(CLAUSE, output_config=output))

    value = json.loads(text_of(message))
    Draft202012Validator(SCHEMA).validate(value)
    assert value["cap"] in CLAUSE


def test_the_sdks_own_parsing_of_structured_output_works(simulator, anthropic_sdk):
    class Clause(BaseModel):
        amount: str
        date: str

    message = anthropic_sdk.messages.parse(
        model="claude-haiku-4-5",
        max_tokens=500,
        messages=[{"role": "user", "content": CLAUSE}],
        output_format=Clause,
    )

    assert message.parsed_output == Clause(amount="EUR 250,000", date="1 January 2026")


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "note"}])
def test_a_tool_that_must_be_called_is_called(ask_anthropic, choice):
    message = strictly(ask_anthropic(CLAUSE, tools=[{"name": "note", "input_schema": SCHEMA}], tool_choice=choice))

    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert call.type == "tool_use"
    assert call.name == "note"
    Draft202012Validator(SCHEMA).validate(call.input)


def test_tools_that_need_not_be_called_are_not(ask_anthropic):
    message = ask_anthropic(CLAUSE, tools=[{"name": "note", "input_schema": SCHEMA}])

    assert message.stop_reason == "end_turn"
    assert text_of(message)


def test_a_conversation_with_blocks_is_read(ask_anthropic):
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Look it up."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "note", "input": {"q": "dew"}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "Dew forms at night."},
                {"type": "text", "text": "When does dew form?"},
            ],
        },
    ]

    assert "Dew forms at night." in text_of(strictly(ask_anthropic(messages=messages)))


def test_an_answer_over_the_limit_is_cut_and_says_so(ask_anthropic):
    whole = text_of(ask_anthropic(CLAUSE, system="Summarise the clause."))
    message = strictly(ask_anthropic(CLAUSE, system="Summarise the clause.", max_tokens=12))

    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 12
    assert whole.startswith(text_of(message))


def test_a_tool_call_over_the_limit_is_cut(ask_anthropic):
    message = strictly(
        ask_anthropic(
            CLAUSE, max_tokens=5, tools=[{"name": "note", "input_schema": SCHEMA}], tool_choice={"type": "any"}
        )
    )

    assert message.stop_reason == "max_tokens"
    assert message.content[0].input == {}


def test_no_tokens_at_all_only_fill_the_cache(ask_anthropic):
    message = strictly(ask_anthropic(CLAUSE, max_tokens=0))

    assert message.content == []
    assert message.usage.output_tokens == 0


def test_a_stop_sequence_ends_the_answer(ask_anthropic):
    whole = text_of(ask_anthropic(CLAUSE, system="Summarise the clause."))
    message = strictly(ask_anthropic(CLAUSE, system="Summarise the clause.", stop_sequences=["72 hours"]))

    assert message.stop_reason == "stop_sequence"
    assert message.stop_sequence == "72 hours"
    assert text_of(message) == whole.partition("72 hours")[0]


def test_a_stream_of_events_builds_up_the_same_answer(simulator, anthropic_sdk, ask_anthropic):
    plain = ask_anthropic(CLAUSE)
    with anthropic_sdk.messages.stream(
        model="claude-haiku-4-5", max_tokens=1_000, messages=[{"role": "user", "content": CLAUSE}]
    ) as stream:
        pieces = list(stream.text_stream)
        message = strictly(stream.get_final_message())

    assert len(pieces) > 1
    assert text_of(message) == text_of(plain)
    assert message.usage.output_tokens == plain.usage.output_tokens
    assert message.usage.input_tokens == plain.usage.input_tokens


def test_a_streamed_tool_call_arrives_whole(simulator, anthropic_sdk):
    with anthropic_sdk.messages.stream(
        model="claude-haiku-4-5",
        max_tokens=1_000,
        messages=[{"role": "user", "content": CLAUSE}],
        tools=[{"name": "note", "input_schema": SCHEMA}],
        tool_choice={"type": "any"},
    ) as stream:
        message = stream.get_final_message()

    Draft202012Validator(SCHEMA).validate(message.content[0].input)


def test_every_reply_names_its_request(ask_anthropic):
    assert ask_anthropic()._request_id.startswith("req_")


def test_the_models_are_listed(simulator, anthropic_sdk):
    listed = [model.id for model in anthropic_sdk.models.list()]

    assert "claude-haiku-4-5" in listed
    assert shipped_models("anthropic") <= set(listed)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages.0.content.0.type"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"properties": 1}}}},
            "output_config.format.schema",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        (
            {"tools": [{"name": "a", "input_schema": SCHEMA}], "tool_choice": {"type": "tool", "name": "b"}},
            "tool_choice.name",
        ),
    ],
)
def test_a_bad_field_is_refused_by_name(ask_anthropic, simulator, fields, place):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask_anthropic(**fields)

    assert caught.value.type == "invalid_request_error"
    assert caught.value.api_message.startswith(place + ":")
    [entry] = simulator.journal()
    assert (entry["status"], entry["input_tokens"], entry["model"]) == (400, 0, "claude-haiku-4-5")


def test_a_model_of_the_other_provider_does_not_exist(ask_anthropic):
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask_anthropic(model="gpt-5.4")

    assert caught.value.type == "not_found_error"


def test_a_body_that_is_no_json_is_refused(simulator):
    response = simulator.control.post("/v1/messages", content=b"{", headers={"x-api-key": "k"})

    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_either_kind_of_key_will_do_and_none_will_not(simulator):
    body = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    statuses = [
        simulator.control.post("/v1/messages", json=body, headers=headers).status_code
        for headers in ({"x-api-key": "k"}, {"Authorization": "Bearer k"}, {}, {"x-api-key": ""})
    ]

    assert statuses == [200, 200, 401, 401]
    refused = simulator.control.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
