"""Output schemas in the providers' dialects: enforced where that keeps their meaning, asked for in words elsewhere."""

from __future__ import annotations

import copy

import pytest
from jsonschema import Draft202012Validator

from router.providers.schemas import claude_format, in_words, openai_format

CLOSED = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "size": {"type": ["number", "null"], "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}},
    },
    "required": ["name", "size", "kind", "parts"],
    "additionalProperties": False,
    "$defs": {
        "part": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        }
    },
}


def without(schema, *path):
    schema = copy.deepcopy(schema)
    part = schema
    for word in path[:-1]:
        part = part[word]
    del part[path[-1]]
    return schema


def with_(schema, value, *path):
    schema = copy.deepcopy(schema)
    part = schema
    for word in path[:-1]:
        part = part[word]
    part[path[-1]] = value
    return schema


def test_openai_is_strict_where_strict_mode_takes_the_schema():
    assert openai_format(CLOSED) == {"type": "json_schema", "name": "output", "schema": CLOSED, "strict": True}


def test_after_an_answer_that_did_not_match_both_are_asked_in_words_too(provider, adapter_to, told, ask, an_answer):
    told.answer(an_answer())
    adapter = adapter_to(provider, told.url)

    adapter.call(ask(output_schema=CLOSED))
    once = told.last_body
    adapter.call(ask(output_schema=CLOSED, output_fault="at size: it is a text"))
    again = told.last_body

    words = in_words(CLOSED, "at size: it is a text")
    assert words.startswith("An earlier answer to this could not be used: at size: it is a text. Answer with one JSON")
    if provider == "openai":
        assert again == once | {"input": [*once["input"], {"role": "system", "content": words}]}
    else:
        assert again == once | {"system": once["system"] + "\n\n" + words}


@pytest.mark.parametrize(
    "schema",
    [
        without(CLOSED, "additionalProperties"),
        without(CLOSED, "$defs", "part", "additionalProperties"),
        with_(CLOSED, ["name"], "required"),
        with_(CLOSED, 3, "properties", "name", "minLength"),
        with_(CLOSED, True, "properties", "name"),
        with_(CLOSED, [{"type": "string"}], "properties", "name", "oneOf"),
        CLOSED | {"anyOf": [{"required": ["name"]}]},
    ],
)
def test_openai_is_not_strict_elsewhere(schema):
    assert openai_format(schema)["strict"] is False
    assert openai_format(schema)["schema"] == schema


@pytest.mark.parametrize("schema", [{"type": "array", "items": {"type": "string"}}, {"type": "string"}, {}])
def test_openai_takes_only_objects_at_the_root(schema):
    assert openai_format(schema) is None


def test_claude_gets_closed_objects_and_single_types():
    schema = claude_format(CLOSED)["schema"]

    size = schema["properties"]["size"]
    assert {part["type"] for part in size["anyOf"]} == {"number", "null"}
    assert schema["$defs"]["part"]["additionalProperties"] is False
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "x", "size": 1.5, "kind": "a", "parts": [{"n": 1}]},
        {"name": "x", "size": None, "kind": "b", "parts": []},
    ],
)
def test_what_claude_may_write_is_valid_under_the_jobs_schema(value):
    Draft202012Validator(claude_format(CLOSED)["schema"]).validate(value)
    Draft202012Validator(CLOSED).validate(value)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"description": "anything"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "if": {}, "then": {}},
        {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}},
    ],
)
def test_claude_is_asked_in_words_where_its_dialect_would_change_the_meaning(schema):
    assert claude_format(schema) is None
    assert str(schema.get("type", "{}")) in in_words(schema)


def test_a_schema_is_never_changed_in_place():
    before = copy.deepcopy(CLOSED)

    openai_format(CLOSED)
    claude_format(CLOSED)

    assert before == CLOSED


def test_a_schema_of_great_depth_is_asked_for_in_words():
    schema = {"type": "string"}
    for _ in range(5_000):
        schema = {"type": "array", "items": schema}

    assert claude_format(schema) is None
