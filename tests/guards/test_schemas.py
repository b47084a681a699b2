"""Output schemas: valid, closed in themselves; answers are held against them."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidSchemaError
from guards.schemas import check_schema, mismatch

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/a~1b"}}},
    "required": ["name"],
    "$defs": {"a/b": {"$ref": "#"}},
}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TREE,
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": ["string", "null"]},
        {"$schema": "http://json-schema.org/draft-06/schema", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"$schema": "https://json-schema.org/draft/2019-09/schema", "items": [{}, {"$recursiveRef": "#"}]},
        {"properties": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}},
        {"$id": "https://example.test/whole", "$defs": {"a": True}, "$ref": "#/$defs/a"},
        {"prefixItems": [{"type": "string"}, {"$ref": "#/prefixItems/0"}]},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
        {"enum": [{"$id": "a value", "$ref": "http://127.0.0.1:9/"}]},
        {"$ref": "#/x-parts/0", "x-parts": [{"type": "string"}]},
        {"pattern": r"^[\u0041-\u005a\/\-]\uD83D\uDE00$"},
        {"description": "x" * 20_000, "type": "string"},
    ],
)
def test_good_schemas_pass_and_pass_again(schema: dict[str, Any]) -> None:
    check_schema(schema)
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "field", "value"),
    [
        ({"type": "nonsense"}, "output_schema.type", "nonsense"),
        ({"properties": {"a": {"minimum": "low"}}}, "output_schema.properties.a.minimum", "low"),
        ({"properties": {"a": {"pattern": "("}}}, "output_schema.properties.a.pattern", "("),
        ({"required": "a"}, "output_schema.required", "a"),
        ({"$schema": 7}, "output_schema.$schema", 7),
        ({"$schema": "urn:a-dialect-that-nobody-knows"}, "output_schema.$schema", "urn:a-dialect-that-nobody-knows"),
        ({"$schema": DRAFT_4}, "output_schema.$schema", DRAFT_4),
        ({"items": {"$schema": DRAFT_4}}, "output_schema.items.$schema", DRAFT_4),
        ({"$defs": [1]}, "output_schema.$defs", "an array of 1"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "$defs": [1]}, "output_schema.$defs", "an array of 1"),
        ({"anyOf": [{}, 7]}, "output_schema.anyOf[1]", 7),
        ({"items": [{}]}, "output_schema.items", "an array of 1"),
        ({"multipleOf": 0}, "output_schema.multipleOf", 0),
        ({"minLength": -1}, "output_schema.minLength", -1),
        ({"minLength": 1.5}, "output_schema.minLength", 1.5),
        ({"required": ["a", "a"]}, "output_schema.required", "an array of 2"),
        ({"enum": "a"}, "output_schema.enum", "a"),
        ({"pattern": r"(?=a)b"}, "output_schema.pattern", r"(?=a)b"),
        ({"pattern": r"(?<!a)b"}, "output_schema.pattern", r"(?<!a)b"),
        ({"pattern": r"(a)\1"}, "output_schema.pattern", r"(a)\1"),
        ({"patternProperties": {"(?!a)": {}}}, "output_schema.patternProperties.(?!a)", "(?!a)"),
        ({"pattern": "a{1001}"}, "output_schema.pattern", "a{1001}"),
        ({"$ref": "#/allOf/²", "allOf": [{}]}, "output_schema.$ref", "#/allOf/²"),
        ({"$ref": "#/allOf/" + "1" * 5000, "allOf": [{}]}, "output_schema.$ref", None),
        ({"$ref": "#/$defs/nowhere"}, "output_schema.$ref", "#/$defs/nowhere"),
        ({"$ref": "#/type", "type": "string"}, "output_schema.$ref", "#/type"),
        ({"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}}, "output_schema.$ref", "#name"),
        ({"items": {"$ref": "http://127.0.0.1:9/inside"}}, "output_schema.items.$ref", "http://127.0.0.1:9/inside"),
        ({"anyOf": [{"$ref": "file:///etc/passwd"}]}, "output_schema.anyOf[0].$ref", "file:///etc/passwd"),
        ({"$dynamicRef": "other.json#a"}, "output_schema.$dynamicRef", "other.json#a"),
        ({"$defs": {"a": {"$id": "https://example.test/"}}}, "output_schema.$defs.a.$id", "https://example.test/"),
        ({"description": "x" * 20_000, "type": "nonsense"}, "output_schema.type", "nonsense"),
    ],
)
def test_bad_schemas_are_refused_by_field_and_value_each_time(schema: dict[str, Any], field: str, value: Any) -> None:
    for _ in range(2):
        with pytest.raises(InvalidSchemaError) as refused:
            check_schema(schema)
        assert refused.value.field == field
        assert value is None or refused.value.value == value
        assert len(str(refused.value)) < 1000


def test_answers_are_held_against_the_schema() -> None:
    assert mismatch({"name": "a", "children": [{"name": "b"}]}, TREE) is None
    assert "children/0: 'name' is a required property" in (mismatch({"name": "a", "children": [{}]}, TREE) or "")
    assert "the whole" in (mismatch([], TREE) or "")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        {"if": {}, "then": {"$ref": "#"}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}},
        {"dependentSchemas": {"a": {"$dynamicRef": "#"}}},
    ],
)
def test_a_reference_to_itself_must_go_into_the_answer(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchemaError, match="never ends"):
        check_schema(schema)


def test_a_reference_below_a_property_may_lead_to_itself() -> None:
    check_schema({"properties": {"inside": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}})


def test_a_fault_names_its_place_and_quotes_no_value() -> None:
    schema = {"anyOf": [{"type": "null"}, {"properties": {"a": {"items": {"enum": ["secret"]}}}, "type": "object"}]}
    assert mismatch({"a": ["secret", "private"]}, schema) == "at a/1: is not one of the 1 values of enum"
    told = mismatch({"x" * 10_000: 1}, {"propertyNames": {"maxLength": 5}}) or ""
    assert "has more than 5 characters" in told
    assert len(told) < 300
