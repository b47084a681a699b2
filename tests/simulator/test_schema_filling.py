"""Whatever JSON schema is asked for, the value is valid under it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from simulator.answers.content import MaterialContent
from simulator.answers.dice import Dice
from simulator.answers.reading import Reading
from simulator.answers.schema_fill import fill

TEXT = "Maria Jensen paid $49.90 on 3 March 2025 for order #48213. She wants a refund within 14 days. Nobody answers."
NAMES = ["reason", "score", "category", "items", "amount", "is_valid", "sql", "x", "a b", "name"]


def filled(schema: Any, seed: str = "0", text: str = TEXT) -> Any:
    return fill(schema, MaterialContent(Reading(text), text, Dice(seed)))


def check(schema: Any, seed: str = "0", text: str = TEXT) -> Any:
    Draft202012Validator.check_schema(schema)
    value = filled(schema, seed, text)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    return value


# ------------------------------------------------------------------------------------------------ schemas that agree


def _between(low: str, high: str, most: int) -> st.SearchStrategy[dict]:
    """A lower and an upper bound, either of which may be absent."""
    pair = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return st.tuples(pair, st.booleans(), st.booleans()).map(
        lambda drawn: ({low: drawn[0][0]} if drawn[1] else {}) | ({high: drawn[0][1]} if drawn[2] else {})
    )


strings = _between("minLength", "maxLength", 60).map(lambda bounds: {"type": "string", **bounds})
patterns = st.sampled_from(
    [
        r"^[A-Z]{2}-\d{4}$",
        r"^\d{3,5}$",
        r"^(?:yes|no|maybe)$",
        r"^[a-f0-9]{8}$",
        r"\w+@\w+\.com",
        r"^[^\s,]+$",
        r"^#?x*$",
    ]
).map(lambda pattern: {"type": "string", "pattern": pattern})
formats = st.sampled_from(["date", "date-time", "email", "uuid", "ipv4", "ipv6"]).map(
    lambda kind: {"type": "string", "format": kind}
)
integers = st.tuples(
    st.integers(-1_000, 1_000), st.integers(20, 500), st.sampled_from([None, 1, 3, 10]), st.booleans(), st.booleans()
).map(
    lambda drawn: {
        "type": "integer",
        ("exclusiveMinimum" if drawn[3] else "minimum"): drawn[0],
        ("exclusiveMaximum" if drawn[4] else "maximum"): drawn[0] + drawn[1],
        **({"multipleOf": drawn[2]} if drawn[2] else {}),
    }
)
numbers = st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 1e3), st.booleans(), st.booleans()).map(
    lambda drawn: {
        "type": "number",
        ("exclusiveMinimum" if drawn[2] else "minimum"): drawn[0],
        ("exclusiveMaximum" if drawn[3] else "maximum"): drawn[0] + drawn[1],
    }
)
enums = st.lists(st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.none()), min_size=1, max_size=5).map(
    lambda options: {"enum": options}
)
plain = st.sampled_from(
    [{"type": "boolean"}, {"type": "null"}, {"type": "string"}, {"type": ["string", "null"]}, {"const": 7}, {}, True]
)
leaves = st.one_of(strings, patterns, formats, integers, numbers, enums, plain)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict]:
    return st.tuples(
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
        st.sets(st.sampled_from(NAMES), max_size=3),
        st.booleans(),
    ).map(
        lambda drawn: {
            "type": "object",
            "properties": drawn[0],
            "required": sorted(name for name in drawn[1] if name in drawn[0] or not drawn[2]),
            **({"additionalProperties": False} if drawn[2] else {}),
        }
    )


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict]:
    return st.tuples(inner, _between("minItems", "maxItems", 6)).map(
        lambda drawn: {"type": "array", "items": drawn[0], **drawn[1]}
    )


def _choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})


schemas = st.recursive(leaves, lambda inner: st.one_of(_objects(inner), _arrays(inner), _choices(inner)), max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(schemas, st.text(max_size=3))
def test_any_schema_is_satisfied(schema, seed):
    check(schema, seed)


@settings(max_examples=60, deadline=None)
@given(schemas, st.text(max_size=400))
def test_whatever_the_text_is(schema, text):
    check(schema, text=text)


@settings(max_examples=60, deadline=None)
@given(_between("minLength", "maxLength", 40), st.integers(1, 6))
def test_lengths_and_a_pattern_together(bounds, least):
    low, high = bounds.get("minLength", 0), max(bounds.get("maxLength", 60), bounds.get("minLength", 0), least)
    check({"type": "string", "pattern": f"^[a-z]{{{least},}}$", "minLength": low, "maxLength": high})


# ------------------------------------------------------------------------------------------- what needs more than one


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(
            {
                "$defs": {
                    "node": {
                        "type": "object",
                        "required": ["value", "children"],
                        "properties": {
                            "value": {"type": "string"},
                            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                        },
                        "additionalProperties": False,
                    }
                },
                "$ref": "#/$defs/node",
            },
            id="a tree",
        ),
        pytest.param(
            {
                "type": "object",
                "required": ["next"],
                "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "n": {"type": "integer"}},
            },
            id="a chain",
        ),
        pytest.param(
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
                    {"properties": {"a": {"maximum": 5}, "b": {"const": "x"}}, "required": ["b"]},
                ]
            },
            id="allOf",
        ),
        pytest.param({"oneOf": [{"type": "integer"}, {"type": "string"}]}, id="oneOf"),
        pytest.param(
            {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3, "maxItems": 3},
            id="unique items",
        ),
        pytest.param({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True}, id="few unique items"),
        pytest.param(
            {"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "items": False, "minItems": 2},
            id="a tuple",
        ),
        pytest.param({"type": "array", "contains": {"const": "needle"}, "minContains": 2}, id="contains"),
        pytest.param({"type": "object", "minProperties": 3, "additionalProperties": {"type": "integer"}}, id="a map"),
        pytest.param({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 2}, id="few keys"),
        pytest.param({"type": "number", "multipleOf": 0.25, "exclusiveMinimum": 1, "maximum": 1.5}, id="steps"),
        pytest.param({"type": "integer", "multipleOf": 2.5, "minimum": 1}, id="whole steps of a fraction"),
        pytest.param({"properties": {"a": {"minLength": 5}}, "required": ["a"]}, id="types left out"),
        pytest.param({"type": "string", "minLength": 30, "maxLength": 30}, id="one length"),
        pytest.param({"type": "string", "pattern": "^AB", "minLength": 12}, id="an open pattern made longer"),
    ],
)
def test_a_schema_of_several_parts_is_satisfied(schema):
    for seed in range(5):
        check(schema, str(seed))


def test_a_pattern_that_cannot_be_read_still_gives_a_text_of_the_right_length():
    value = filled({"type": "string", "pattern": r"^(?=x)(\w)\1+$", "maxLength": 9})

    assert isinstance(value, str)
    assert len(value) <= 9


def test_values_come_from_the_text():
    schema = {
        "type": "object",
        "properties": {
            "customer_name": {"type": "string"},
            "order_number": {"type": "string"},
            "amount_usd": {"type": "number"},
            "due_date": {"type": "string"},
            "category": {"enum": ["shipping", "refund", "praise"]},
        },
    }

    assert check(schema) == {
        "customer_name": "Maria Jensen",
        "order_number": "#48213",
        "amount_usd": 49.9,
        "due_date": "3 March 2025",
        "category": "refund",
    }


def test_a_judgement_lies_in_the_upper_part_of_its_range():
    schema = {"type": "object", "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 10}}}
    scores = {check(schema, str(seed))["score"] for seed in range(40)}

    assert min(scores) >= 5
    assert len(scores) > 2


def test_a_hard_task_is_judged_harder_than_an_easy_one():
    schema = {"enum": ["easy", "medium", "hard"]}
    named = {"type": "object", "properties": {"difficulty": schema}}
    hard = (
        "Analyse and compare the liability clauses, explain why they conflict, and design a better contract. Why? " * 3
    )

    assert check(named, text="Say hello.")["difficulty"] == "easy"
    assert check(named, text=hard)["difficulty"] == "hard"
