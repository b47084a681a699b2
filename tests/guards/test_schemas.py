"""Output schemas: valid, closed in themselves; answers are held against them."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidSchemaError
from guards.schemas import check_schema, mismatch

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
        {"$schema": "urn:a-dialect-that-nobody-knows", "type": "string"},
        {"$id": "https://example.test/whole", "$defs": {"a": True}, "$ref": "#/$defs/a"},
        {"prefixItems": [{"type": "string"}, {"$ref": "#/prefixItems/0"}]},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
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
        assert (refused.value.field, refused.value.value) == (field, value)


def test_answers_are_held_against_the_schema() -> None:
    assert mismatch({"name": "a", "children": [{"name": "b"}]}, TREE) is None
    assert "children/0: 'name' is a required property" in (mismatch({"name": "a", "children": [{}]}, TREE) or "")
    assert "the whole" in (mismatch([], TREE) or "")


def test_a_schema_that_is_nothing_but_itself_matches_nothing() -> None:
    check_schema({"$ref": "#"})
    assert mismatch("anything", {"$ref": "#"}) is not None
