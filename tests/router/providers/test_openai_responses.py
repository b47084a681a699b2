"""OpenAI's adapter: what goes out, and what is made of what comes back."""

from __future__ import annotations

import pytest

from errors import (
    ProviderMalformedAnswerError,
    ProviderRateLimitedError,
    ProviderRefusedError,
    ProviderUnavailableError,
)
from router.providers.calls import CallReply, Message, Usage
from tests.router.providers.conftest import openai_answer


@pytest.fixture
def openai(adapter_to, told):
    return adapter_to("openai", told.url)


def test_a_request_carries_everything_and_asks_for_no_storage(openai, told, ask):
    told.answer(openai_answer())
    request = ask(model="gpt-6-luna", max_output_tokens=77)

    openai.call(request)

    [(path, headers, body)] = told.requests
    assert path == "/v1/responses"
    assert body == {
        "model": "gpt-6-luna",
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How high is the weir?"},
        ],
        "max_output_tokens": 77,
        "store": False,
        "metadata": {
            "tenant_id": request.tenant_id,
            "user_id": "user-7",
            "feature": "chat",
            "job_id": str(request.job_id),
        },
        "safety_identifier": "user-7",
        "service_tier": "default",
    }
    assert headers["x-client-request-id"] == str(request.run_id)
    assert headers["content-type"] == "application/json"


def test_an_answer_is_read_whole(openai, told, ask):
    told.answer(openai_answer(), x_request_id="req_abc")

    assert openai.call(ask()) == CallReply(
        text="Two metres.",
        usage=Usage(
            input_tokens=120, cached_input_tokens=70, cache_write_tokens=30, output_tokens=50, reasoning_tokens=40
        ),
        model="gpt-6-luna-2026-05-01",
        provider_request_id="req_abc",
        finish="complete",
    )


def test_a_compatible_server_may_leave_details_out(openai, told, ask):
    told.answer(openai_answer(usage={"input_tokens": 9, "output_tokens": 4}))

    reply = openai.call(ask())

    assert reply.usage == Usage(9, 0, 0, 4, 0)
    assert reply.provider_request_id == "resp_1"


def test_an_answer_that_was_cut_says_so(openai, told, ask):
    told.answer(openai_answer(status="incomplete", incomplete_details={"reason": "max_output_tokens"}))

    assert openai.call(ask()).finish == "length"


def test_an_answer_stopped_by_the_content_filter_is_a_refusal(openai, told, ask):
    told.answer(openai_answer(status="incomplete", incomplete_details={"reason": "content_filter"}))

    assert openai.call(ask()).finish == "refusal"


def test_a_refusal_is_an_answer_that_was_paid_for(openai, told, ask):
    refusing = {"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}
    told.answer(openai_answer(output=[refusing]))

    reply = openai.call(ask())

    assert (reply.finish, reply.text, reply.usage.output_tokens) == ("refusal", "I will not.", 50)


def test_commentary_on_the_way_is_no_part_of_the_answer(openai, told, ask):
    def message(phase, text):
        return {"type": "message", "phase": phase, "content": [{"type": "output_text", "text": text}]}

    told.answer(openai_answer(output=[message("commentary", "Let me see."), message("final_answer", '{"a": 1}')]))

    assert openai.call(ask()).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", ProviderUnavailableError),
        ("rate_limit_exceeded", ProviderRateLimitedError),
        ("invalid_prompt", ProviderRefusedError),
    ],
)
def test_a_failure_under_status_200_is_an_error(openai, told, ask, code, kind):
    told.answer(openai_answer(status="failed", output=[], usage=None, error={"code": code, "message": "no"}))

    with pytest.raises(kind, match=code):
        openai.call(ask())


@pytest.mark.parametrize("changes", [{"status": "queued"}, {"output": "text"}])
def test_an_answer_that_cannot_be_read_is_malformed_and_costs_what_it_says(openai, told, ask, changes):
    told.answer(openai_answer(**changes), x_request_id="req_abc")

    with pytest.raises(ProviderMalformedAnswerError) as caught:
        openai.call(ask())

    assert caught.value.request_id == "req_abc"
    assert caught.value.billable is True
    assert caught.value.usage == Usage(120, 70, 30, 50, 40)


def test_a_schema_is_enforced_by_the_provider(openai, told, ask):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    told.answer(openai_answer())

    openai.call(ask(output_schema=schema))

    assert told.last_body["text"] == {
        "format": {"type": "json_schema", "name": "output", "schema": schema, "strict": False}
    }


def test_a_schema_that_the_provider_does_not_take_is_asked_for_in_words(openai, told, ask):
    told.answer(openai_answer())

    openai.call(ask(output_schema={"type": "array", "items": {"type": "string"}}))

    assert "text" not in told.last_body
    assert '"array"' in told.last_body["input"][-1]["content"]


def test_metadata_keeps_within_its_limit(openai, told, ask):
    told.answer(openai_answer())

    openai.call(ask(end_user="u" * 2_000))

    assert told.last_body["metadata"]["user_id"] == "u" * 512


def test_an_own_key_goes_out_without_the_platforms_organisation(monkeypatch, adapter_to, told, ask):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-platform")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-platform")
    openai = adapter_to("openai", told.url)
    told.answer(openai_answer())

    openai.call(ask())
    assert told.last_headers["openai-organization"] == "org-platform"
    openai.call(ask(api_key="sk-own"))

    assert told.last_headers["authorization"] == "Bearer sk-own"
    assert "openai-organization" not in told.last_headers
    assert "openai-project" not in told.last_headers


def test_any_text_travels(openai, told, ask):
    told.answer(openai_answer(text="grüße 🌊 \u2028"))
    text = 'é 🌊 "\\ \x00 \u2028 lone \ud800'

    reply = openai.call(ask(messages=(Message("user", text),)))

    assert told.last_body["input"][0]["content"] == text.replace("\ud800", "?")
    assert reply.text == "grüße 🌊 \u2028"
