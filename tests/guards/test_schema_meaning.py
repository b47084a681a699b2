"""What schemas mean: the same as to the ``jsonschema`` library, over schemas and values made at random.

Its check of the drafts' official test suite is part of decision 22; this finds what drifts from it later.
"""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.schemas import check_schema, mismatch

NAMES = st.sampled_from(["a", "b", "ab"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5, 2**70, 1e300])
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "aé"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
SIZES = st.integers(0, 3)


def words(schema: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some keywords, each with a value of its shape."""
    many, named = st.lists(schema, min_size=1, max_size=3), st.dictionaries(NAMES, schema, max_size=3)
    each: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, max_size=4),
        "const": VALUES,
        "uniqueItems": st.booleans(),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "pattern": st.sampled_from(["^a", "b$", "^[ab]+$", "é"]),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), schema, max_size=2),
        "$ref": st.sampled_from(["#/$defs/x", "#/$defs/y"]),
    }
    each |= dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), NUMBERS)
    each |= dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), SIZES)
    each |= dict.fromkeys(("minProperties", "maxProperties", "minContains", "maxContains"), SIZES)
    each |= dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), many)
    each |= dict.fromkeys(("not", "if", "then", "else", "contains", "propertyNames", "items"), schema)
    each |= dict.fromkeys(("additionalProperties", "unevaluatedProperties", "unevaluatedItems"), schema)
    each |= dict.fromkeys(("properties", "dependentSchemas"), named)
    return st.lists(st.sampled_from(sorted(each)), min_size=1, max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({word: each[word] for word in chosen})
    )


SCHEMAS = st.recursive(st.booleans() | st.just({}), words, max_leaves=6)
LEAVES = st.sampled_from(
    [{"type": "string"}, {"properties": {"a": {"type": "null"}}}, {"items": {"$ref": "#/$defs/x"}}]
)


@settings(deadline=None, max_examples=300)
@given(words(SCHEMAS), LEAVES, LEAVES, st.lists(VALUES, min_size=1, max_size=5))
def test_a_value_matches_if_the_library_says_so(
    schema: dict[str, Any], x: dict[str, Any], y: dict[str, Any], values: list[Any]
) -> None:
    whole = schema | {"$defs": {"x": x, "y": y}}
    check_schema(whole)
    library = jsonschema.Draft202012Validator(whole)
    for value in values:
        assert (mismatch(value, whole) is None) is library.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"multipleOf": 0.01}, 19.99, 19.999),  # of what is written: the library divides floats and refuses 19.99
        ({"multipleOf": 7}, 10**300 * 7, 10**300 * 7 + 1),
        ({"enum": [1, "1", [True]]}, 1.0, True),
        ({"enum": [1, "1", [True]]}, [True], [1]),
        ({"const": {"a": 1, "b": [2]}}, {"b": [2.0], "a": 1}, {"a": 1, "b": [2, 2]}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}, None], [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
        ({"const": 2**60}, float(2**60), 2**60 + 1),
        ({"pattern": "a$"}, "ba", "a\n"),  # the end is the end, as in ECMA-262; Python's $ stops before a line break
        ({"pattern": r"^\u00e9\d$"}, "é7", "é٧"),
        ({"pattern": r"^\uD83D\uDE00$"}, "😀", "a"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}], "additionalItems": False}, [1], [1, 2]),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "dependencies": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/$defs/a", "not": {}, "$defs": {"a": {}}},
            1,
            None,
        ),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema", "items": {"$recursiveRef": "#"}}, [[]], None),
    ],
)
def test_cases(schema: dict[str, Any], good: Any, bad: Any) -> None:
    check_schema(schema)
    assert mismatch(good, schema) is None
    assert bad is None or mismatch(bad, schema) is not None
