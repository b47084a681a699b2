"""The door: every bad field is refused by name and value, good requests pass, and what passes is clean."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import DeadlinePassedError, ExtraVariableError, InvalidInputError, InvalidSchemaError, TooLongError
from producers.requests import MAX_INPUT_BYTES, as_row, as_rows, check, estimated_tokens
from tests.support.plain_request import BASE, NOW, TENANT

WITH_PROMPT: dict[str, Any] = {
    "tenant_id": TENANT,
    "user_id": "u-1",
    "feature": "chat",
    "prompt": "chat",
    "variables": {"message": "Hello"},
}


def refusal(fields: dict[str, Any], kind: type[InvalidInputError] = InvalidInputError) -> InvalidInputError:
    with pytest.raises(kind) as refused:
        check(fields, now=NOW)
    assert type(refused.value) is kind
    json.dumps(refused.value.as_dict())
    return refused.value


# ------------------------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "not a uuid"),
        ("tenant_id", None),
        ("user_id", ""),
        ("user_id", "u" * 201),
        ("user_id", "u\x00\u202e"),
        ("user_id", "\u200b "),  # nothing of it can be seen
        ("user_id", 5),
        ("user_id", None),
        ("feature", ""),
        ("feature", "f" * 62),
        ("feature", 5),
        ("lane", ""),
        ("lane", "l" * 32),
        ("lane", None),
        ("messages", "Hello"),
        ("max_output_tokens", 0),
        ("max_output_tokens", 15),
        ("max_output_tokens", 200_001),
        ("max_output_tokens", "many"),
        ("max_output_tokens", 1.5),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 201),
        ("run_at", "tomorrow"),
        ("deadline", "tomorrow"),
        ("on_over_budget", "maybe"),
        ("on_over_budget", None),
        ("on_unknown", "maybe"),
        ("force_tier", "golden"),
        ("metadata", "text"),
        ("context", float("nan")),
        ("no_such_field", 1),
        ("id", "0198c3f0-0000-7000-8000-000000000000"),
    ],
)
def test_each_bad_field_is_named_with_its_value(field: str, value: Any) -> None:
    error = refusal({**BASE, field: value})
    assert error.field == field
    assert error.value is value or error.value == value
    if value is not None:
        assert field in str(error)
        assert repr(value)[:90] in str(error)


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages[0].role", "robot"),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "user"}]}, "messages[1].content", None),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", ""),
        ({"messages": [{"role": "user", "content": "\u2066"}]}, "messages[0].content", "\u2066"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", 5),
        ({"messages": [{"role": "user", "content": "Hi", "name": "Ada"}]}, "messages[0].name", "Ada"),
        ({"messages": ["Hi"]}, "messages[0]", "Hi"),
        ({"messages": []}, "messages", "[]"),
        ({"messages": None, "prompt": "chat", "variables": {"message": 5}}, "variables.message", 5),
        ({"messages": None, "prompt": ""}, "prompt", ""),
        ({"messages": None, "prompt": "p" * 62}, "prompt", "p" * 62),
    ],
)
def test_what_is_wrong_inside_is_named_by_its_path(fields: dict[str, Any], field: str, value: Any) -> None:
    error = refusal({**BASE, **fields})
    assert (error.field, error.value) == (field, value)


@pytest.mark.parametrize("field", ["tenant_id", "user_id", "feature"])
def test_what_is_missing_is_named(field: str) -> None:
    error = refusal({name: value for name, value in BASE.items() if name != field})
    assert (error.field, error.message) == (field, "is missing")


def test_prompt_or_messages_not_both_and_not_neither() -> None:
    both = refusal({**BASE, "prompt": "chat"})
    assert (both.field, both.value) == ("prompt", "chat")
    neither = refusal({**BASE, "messages": None})
    assert (neither.field, neither.value) == ("prompt", None)
    assert "either prompt" in both.message and "either prompt" in neither.message
    variables = refusal({**BASE, "variables": {"a": "b"}}, ExtraVariableError)
    assert (variables.field, variables.value) == ("variables", {"a": "b"})


@pytest.mark.parametrize("field", ["context", "metadata", "output_schema"])
def test_json_that_is_none_or_has_no_end_is_refused_by_name(field: str) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    kind = InvalidSchemaError if field == "output_schema" else InvalidInputError
    assert refusal({**BASE, field: endless}, kind).field == field
    for leaf in (object(), b"bytes", {1, 2}, float("inf"), datetime(2030, 1, 1, tzinfo=UTC)):
        error = refusal({**BASE, field: {"a": [leaf]}}, kind)
        assert error.field == field
        assert "not a JSON value" in error.message


@pytest.mark.parametrize("request_", [None, 5, "text", ["tenant_id"], object()])
def test_what_is_no_request_at_all_is_refused(request_: Any) -> None:
    assert refusal(request_).field == "request"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"user_id": "u" * 201}, "user_id: needs 1 to 200 characters (got "),
        ({"user_id": ""}, "user_id: needs 1 to 200 characters (got '')"),
        ({"user_id": b"u"}, "user_id: must be text (got "),
        ({"messages": ["Hi"]}, "messages[0]: must be an object of names and values (got 'Hi')"),
        ({"messages": []}, "messages: must not be empty (got '[]')"),
        ({"messages": "Hi"}, "messages: must be a list (got 'Hi')"),
        (
            {"messages": [{"role": "robot", "content": "x"}]},
            "messages[0].role: must be 'system', 'user' or 'assistant' (got",
        ),
        ({"messages": [{"role": "user"}]}, "messages[0].content: is missing"),
        ({"max_output_tokens": 5}, "max_output_tokens: must be 16 or more (got 5)"),
        ({"max_output_tokens": 10**30}, "max_output_tokens: must be 200000 or less (got "),
        ({"max_output_tokens": 1.5}, "max_output_tokens: must be a whole number (got 1.5)"),
        ({"max_output_tokens": 10**5000}, "max_output_tokens: must be "),
        ({"run_at": "tomorrow"}, "run_at: must be a time such as 2026-01-31T12:00:00Z (got 'tomorrow')"),
        ({"run_at": 10**40}, "run_at: must be a time such as 2026-01-31T12:00:00Z (got "),
        ({"tenant_id": "x"}, "tenant_id: must be a UUID (got 'x')"),
        ({"metadata": "x"}, "metadata: must be an object of names and values (got 'x')"),
        ({"colour": "red"}, "colour: is not a known field (got 'red')"),
    ],
)
def test_a_refusal_is_in_our_own_words(fields: dict[str, Any], said: str) -> None:
    told = str(refusal({**BASE, **fields}))
    assert told.startswith(said)
    assert not re.search(r"Input|Value|valid|_MessageIn|pydantic|items|dictionary", told.removesuffix(")"))


# -------------------------------------------------------------------------------------------------------------- times


def test_a_deadline_must_lie_ahead_and_after_the_start() -> None:
    past = refusal({**BASE, "deadline": NOW}, DeadlinePassedError)
    assert (past.field, past.value) == ("deadline", NOW.isoformat())
    later, latest = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    too_soon = refusal({**BASE, "run_at": latest, "deadline": later}, DeadlinePassedError)
    assert (too_soon.field, too_soon.value) == ("deadline", later.isoformat())
    assert check({**BASE, "run_at": later, "deadline": latest}, now=NOW).deadline == latest


@pytest.mark.parametrize("field", ["run_at", "deadline"])
def test_times_need_a_zone_and_any_zone_will_do(field: str) -> None:
    error = refusal({**BASE, field: "2031-01-01T00:00:00"})
    assert (error.field, error.value) == (field, "2031-01-01T00:00:00")
    assert "time zone" in error.message
    for given_ in ("2031-01-01T02:00:00+02:00", datetime(2031, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))):
        assert getattr(check({**BASE, field: given_}, now=NOW), field) == datetime(2031, 1, 1, tzinfo=UTC)


# ------------------------------------------------------------------------------------------------------- schema, size


@pytest.mark.parametrize(
    ("schema", "field", "value"),
    [
        ({"type": "nonsense"}, "output_schema.type", "nonsense"),
        ({"properties": {"a": {"pattern": "("}}}, "output_schema.properties.a.pattern", "("),
        ({"$ref": "https://example.test/"}, "output_schema.$ref", "https://example.test/"),
        ("text", "output_schema", "text"),
        (5, "output_schema", 5),
    ],
)
def test_a_broken_output_schema_is_named_by_its_path(schema: Any, field: str, value: Any) -> None:
    error = refusal({**BASE, "output_schema": schema}, InvalidSchemaError)
    assert (error.field, error.value) == (field, value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": [{"role": "user", "content": "é" * (MAX_INPUT_BYTES // 2)}]}, "messages"),
        ({"messages": [{"role": "user", "content": "🦆" * (MAX_INPUT_BYTES // 4)}]}, "messages"),
        ({"messages": [{"role": "user", "content": '"' * (MAX_INPUT_BYTES // 2)}]}, "messages"),
        ({"context": ["x" * MAX_INPUT_BYTES]}, "context"),
        ({"output_schema": {"description": "x" * MAX_INPUT_BYTES}}, "output_schema"),
        ({"messages": None, "prompt": "chat", "variables": {"message": "x" * MAX_INPUT_BYTES}}, "variables"),
    ],
)
def test_the_cap_counts_bytes(fields: dict[str, Any], field: str) -> None:
    error = refusal({**BASE, **fields}, TooLongError)
    assert error.field == field
    assert str(error.value).endswith(" bytes") and int(str(error.value).split()[0]) > MAX_INPUT_BYTES
    assert str(MAX_INPUT_BYTES) in error.message


def test_what_just_fits_passes() -> None:
    frame = len(json.dumps([{"role": "user", "content": ""}]))
    check({**BASE, "messages": [{"role": "user", "content": "x" * (MAX_INPUT_BYTES - frame)}]}, now=NOW)


# ------------------------------------------------------------------------------------------------------ what passes


def test_good_requests_pass_whole() -> None:
    everything = {
        **WITH_PROMPT,
        "tenant_id": str(TENANT),
        "context": {"facts": [1, 2.5, None, True, "é"]},
        "output_schema": {"type": "object", "properties": {"a": {"enum": ["x", None]}}},
        "max_output_tokens": 200,
        "lane": "batch",
        "idempotency_key": "k-1",
        "run_at": "2030-06-01T00:00:00Z",
        "deadline": "2030-06-02T00:00:00Z",
        "on_over_budget": "wait",
        "on_unknown": "fail",
        "force_tier": "strong",
        "metadata": {"trace": None},
    }
    row = as_row(check(everything, now=NOW))
    assert UUID(row.pop("id")).version == 7
    assert row.pop("estimated_tokens") >= 1
    expected = {name: value for name, value in everything.items() if name != "tenant_id"}
    assert row == expected


def test_defaults_are_those_of_the_interface() -> None:
    row = as_row(check(BASE, now=NOW))
    assert {name: value for name, value in row.items() if name not in ("id", "estimated_tokens")} == {
        "user_id": "u-1",
        "feature": "chat",
        "messages": [{"role": "user", "content": "Hello"}],
        "lane": "interactive",
        "on_over_budget": "fail",
        "on_unknown": "retry",
    }


def test_every_text_is_cleaned_on_its_way_in() -> None:
    dirty, clean = "a\x00b\r\nc\u202e cafe\u0301", "ab\nc café"
    row = as_row(
        check(
            {
                **BASE,
                "user_id": "u cafe\u0301",
                "lane": "batch",
                "idempotency_key": "k cafe\u0301",
                "messages": [{"role": "user", "content": dirty}],
                "context": {dirty: [dirty]},
                "metadata": {dirty: dirty},
                "output_schema": {"description": dirty},
            },
            now=NOW,
        )
    )
    assert (row["user_id"], row["idempotency_key"]) == ("u café", "k café")
    assert row["messages"][0]["content"] == row["output_schema"]["description"] == clean
    assert row["context"] == {clean: [clean]} and row["metadata"] == {clean: clean}
    with_prompt = as_row(check({**WITH_PROMPT, "variables": {"mess\x00age": dirty}}, now=NOW))
    assert with_prompt["variables"] == {"message": clean}


def test_the_estimate_grows_with_what_is_given_and_little_with_what_is_merely_allowed() -> None:
    def estimate(**fields: Any) -> int:
        return estimated_tokens(check({**BASE, **fields}, now=NOW))

    short = estimate()
    assert estimate(messages=[{"role": "user", "content": "word " * 1000}]) > short + 900
    assert estimate(max_output_tokens=20) < short
    assert estimate(max_output_tokens=100_000) == short


def test_short_texts_are_estimated_from_their_bytes_and_long_ones_are_counted() -> None:
    short, long = (
        estimated_tokens(check({**BASE, "messages": [{"role": "user", "content": "a" * size}]}, now=NOW))
        for size in (1000, 1001)
    )
    assert short - estimated_tokens(check({**BASE, "messages": [{"role": "user", "content": "abcd"}]}, now=NOW)) == 249
    assert long < short  # eight and more of the same letter are one token


def test_rows_that_are_made_together_are_those_that_are_made_alone() -> None:
    requests = [
        check({**fields, "max_output_tokens": 100 + n}, now=NOW)
        for n, fields in enumerate(
            [
                BASE,
                {**BASE, "messages": [{"role": "user", "content": "word " * words} for words in (900, 20, 400)]},
                WITH_PROMPT,
                {**WITH_PROMPT, "variables": {"a": "ape " * 800, "b": "bee " * 300}},
                {**WITH_PROMPT, "variables": None},
            ]
        )
    ]
    together, alone = as_rows(requests), [as_row(request) for request in requests]
    assert len({row.pop("id") for row in together + alone}) == 2 * len(requests)
    assert together == alone
    assert as_rows([]) == []


TEXT = st.text(st.characters(), max_size=40)
MESSAGE = st.fixed_dictionaries({"role": st.just("user"), "content": TEXT})
SCHEMA_WORDS = st.sampled_from(["type", "$ref", "$schema", "enum"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.integers(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    "tenant_id": st.just(TENANT) | st.uuids() | JSON,
    "user_id": TEXT | JSON,
    "feature": st.just("chat") | JSON,
    "prompt": st.none() | TEXT | JSON,
    "variables": st.none() | st.dictionaries(TEXT, TEXT, max_size=3) | JSON,
    "messages": st.none() | st.lists(MESSAGE, max_size=2) | JSON,
    "context": JSON,
    "output_schema": st.none() | st.dictionaries(SCHEMA_WORDS, JSON, max_size=2),
    "max_output_tokens": st.none() | st.integers() | JSON,
    "run_at": st.none() | st.datetimes(timezones=st.none() | st.just(UTC)) | JSON,
    "deadline": st.none() | st.datetimes(timezones=st.none() | st.just(UTC)) | JSON,
    "metadata": st.none() | st.dictionaries(TEXT, JSON, max_size=3) | JSON,
    "idempotency_key": st.none() | TEXT | JSON,
}


@settings(deadline=None, max_examples=300)
@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_whatever_is_asked_is_refused_by_name_or_fit_for_jsonb(fields: dict[str, Any]) -> None:
    try:
        request = check({**WITH_PROMPT, **fields}, now=NOW)
    except InvalidInputError as error:
        refused: InvalidInputError | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.field
        assert str(refused)
        return
    row = json.dumps(as_row(request), allow_nan=False, ensure_ascii=False)
    row.encode("utf-8")
    assert "\\u0000" not in row


def test_two_requests_never_share_an_id() -> None:
    request = check({**BASE, "tenant_id": uuid4()}, now=NOW)
    assert as_row(request)["id"] != as_row(request)["id"]
