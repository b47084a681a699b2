"""OpenAI's Responses API as its SDK sees it."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest
from jsonschema import Draft202012Validator
from openai.types.responses import Response
from pydantic import BaseModel

from tests.simulator.conftest import shipped_models

TICKET = """<ticket>
Hi, I was charged twice for order #48213 on 3 March 2025. The second payment of $49.90 should be refunded.
Nobody answers, and my card is blocked now!

Maria Jensen
</ticket>"""
TICKET_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["category", "priority", "summary", "reply"],
    "properties": {
        "category": {"type": "string", "enum": ["bug", "billing", "account"]},
        "priority": {"type": "string", "enum": ["low", "normal", "high", "urgent"]},
        "summary": {"type": "string", "maxLength": 120},
        "reply": {"type": "string", "minLength": 20},
    },
}
FORMAT = {"format": {"type": "json_schema", "name": "ticket", "schema": TICKET_SCHEMA, "strict": True}}


def strictly(response: Response) -> Response:
    """The SDK builds replies without checking them; this checks."""
    return Response.model_validate(response.to_dict(mode="json"), strict=False)


def test_a_question_gets_a_complete_answer(ask_openai):
    response = strictly(ask_openai("Rivers carry water. They begin at springs. Where do rivers begin?"))

    assert response.status == "completed"
    assert "springs" in response.output_text
    assert response.model == "gpt-5.4-mini"


def test_the_same_request_gets_the_same_answer_and_another_one_does_not(ask_openai):
    first, again, other = ask_openai("What is dew?"), ask_openai("What is dew?"), ask_openai("What is frost?")

    assert first.output_text == again.output_text != other.output_text
    assert first.id != again.id


def test_what_was_asked_for_comes_back_with_the_answer(ask_openai):
    response = strictly(
        ask_openai(
            "Hello",
            instructions="Be brief.",
            metadata={"tenant": "t-1"},
            safety_identifier="u-1",
            max_output_tokens=64,
            store=False,
            temperature=0.2,
        )
    )

    assert response.instructions == "Be brief."
    assert response.metadata == {"tenant": "t-1"}
    assert response.safety_identifier == "u-1"
    assert response.max_output_tokens == 64
    assert response.temperature == 0.2


def test_a_list_of_messages_is_read_like_a_text(ask_openai):
    response = strictly(
        ask_openai(
            [
                {"role": "system", "content": "You answer from the text."},
                {"role": "user", "content": "Hi."},
                {"role": "assistant", "content": "Hello, how can I help?"},
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "Glaciers feed rivers. What feeds rivers?"}],
                },
            ]
        )
    )

    assert "Glaciers feed rivers." in response.output_text


def test_a_schema_is_followed_with_values_from_the_text(ask_openai):
    response = strictly(ask_openai(TICKET, instructions="You sort support tickets.", text=FORMAT))

    value = json.loads(response.output_text)
    Draft202012Validator(TICKET_SCHEMA).validate(value)
    assert value["category"] == "billing"
    assert value["priority"] in ("high", "urgent")
    assert "charged twice" in value["summary"]
    assert "Maria Jensen" in value["reply"]
    assert "#48213" in value["reply"]


def test_the_sdks_own_parsing_of_structured_output_works(simulator, openai_sdk):
    class Invoice(BaseModel):
        number: str
        amounts: list[str]
        paid: bool

    response = openai_sdk.responses.parse(
        model="gpt-5.4", input="Invoice INV-2041 over $120.50 is due on 2025-07-01.", text_format=Invoice
    )

    assert response.output_parsed is not None
    assert response.output_parsed.number == "INV-2041"


def test_json_mode_answers_with_an_object(ask_openai):
    response = ask_openai("Answer in JSON: what is dew?", text={"format": {"type": "json_object"}})

    assert set(json.loads(response.output_text)) == {"answer"}


def test_a_schema_that_the_instructions_state_in_words_is_followed(ask_openai):
    schema = {"type": "array", "items": {"type": "string"}, "minItems": 2}
    response = ask_openai(
        [
            {"role": "user", "content": "Rivers carry water. They begin at springs."},
            {"role": "system", "content": f"One JSON value, valid under this JSON Schema:\n{json.dumps(schema)}"},
        ]
    )

    Draft202012Validator(schema).validate(json.loads(response.output_text))


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "sort"}])
def test_a_function_that_must_be_called_is_called(ask_openai, choice):
    tool = {"type": "function", "name": "sort", "parameters": TICKET_SCHEMA, "strict": True}
    response = strictly(ask_openai(TICKET, tools=[tool], tool_choice=choice))

    call = response.output[0]
    assert call.type == "function_call"
    assert call.name == "sort"
    Draft202012Validator(TICKET_SCHEMA).validate(json.loads(call.arguments))


def test_an_answer_over_the_limit_is_cut_and_says_so(ask_openai):
    whole = ask_openai(TICKET, instructions="You answer support tickets.")
    response = strictly(ask_openai(TICKET, instructions="You answer support tickets.", max_output_tokens=16))

    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert response.usage.output_tokens == 16
    assert whole.output_text.startswith(response.output_text)


def test_a_stream_of_events_builds_up_the_same_answer(simulator, openai_sdk, ask_openai):
    plain = ask_openai("What is dew?")
    with openai_sdk.responses.stream(model="gpt-5.4-mini", input="What is dew?") as stream:
        kinds = [event.type for event in stream]
        response = strictly(stream.get_final_response())

    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") > 1
    assert response.output_text == plain.output_text
    assert response.usage == plain.usage


def test_a_streamed_function_call_arrives_whole(simulator, openai_sdk):
    tool = {"type": "function", "name": "sort", "parameters": TICKET_SCHEMA, "strict": True}
    with openai_sdk.responses.stream(model="gpt-5.4", input=TICKET, tools=[tool], tool_choice="required") as stream:
        response = stream.get_final_response()

    Draft202012Validator(TICKET_SCHEMA).validate(json.loads(response.output[0].arguments))


def test_every_reply_names_its_request(ask_openai):
    assert ask_openai()._request_id.startswith("req_")


def test_the_models_are_listed(simulator, openai_sdk):
    listed = [model.id for model in openai_sdk.models.list()]

    assert "gpt-5.4-mini" in listed
    assert shipped_models("openai") <= set(listed)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "narrator", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"max_output_tokens": 8}, "max_output_tokens"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"metadata": {"key": "x" * 600}}, "metadata.key"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "objekt"}}}},
            "text.format.schema",
        ),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tool_choice": {"type": "function", "name": "gone"}}, "tool_choice"),
    ],
)
def test_a_bad_field_is_refused_by_name(ask_openai, simulator, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask_openai(**fields)

    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert param in caught.value.message
    [entry] = simulator.journal()
    assert (entry["status"], entry["input_tokens"], entry["model"]) == (400, 0, "gpt-5.4-mini")


def test_a_model_of_the_other_provider_does_not_exist(ask_openai):
    with pytest.raises(openai.NotFoundError) as caught:
        ask_openai(model="claude-haiku-4-5")

    assert caught.value.code == "model_not_found"


def test_a_body_that_is_no_json_is_refused(simulator):
    response = simulator.control.post("/v1/responses", content=b"{", headers={"Authorization": "Bearer k"})

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic k"}, {"x-api-key": "k"}])
def test_a_request_without_a_key_is_refused(simulator, headers):
    for method, path in (("POST", "/v1/responses"), ("GET", "/v1/models")):
        if method == "GET" and "x-api-key" in headers:
            continue  # that is how the other provider's clients ask
        response = httpx2.request(method, simulator.url + path, headers=headers)

        assert response.status_code == 401
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}
