"""A job's output schema in the dialect of each provider.

Both constrain what the model can write, and both take only a part of JSON Schema. A schema beyond that part is put into
the prompt instead. In either case the answer is validated against the job's own schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from anthropic import transform_schema

_OPENAI_STRICT_WORDS = (
    frozenset({"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const"})
    | {"$defs", "$ref", "title", "description", "format", "pattern", "minItems", "maxItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_CLAUDE_LOSES = frozenset({"patternProperties", "prefixItems", "not", "if", "then", "else"}) | {
    "dependentSchemas",
    "dependentRequired",
}


def openai_format(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """``text.format`` of the Responses API; ``None`` when the schema must be asked for in words.

    Strict (the model cannot leave the schema) wherever the schema is of the part that strict mode takes.
    """
    if schema.get("type") != "object":
        return None  # the root has to be an object, strict or not
    return {"type": "json_schema", "name": "output", "schema": dict(schema), "strict": _fits_strict_mode(schema)}


def claude_format(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """``output_config.format`` of the Messages API; ``None`` when the schema must be asked for in words.

    The SDK closes every object and moves what Claude does not enforce (lengths, ranges) into descriptions. Where
    that would change what the schema means, as with maps of free keys, words are better.
    """
    for part in _subschemas(schema):
        if not isinstance(part, Mapping) or part.keys() & _CLAUDE_LOSES:
            return None
        if part.get("type") == "object":
            declared = part.get("properties") or {}
            open_map = not declared or isinstance(part.get("additionalProperties"), Mapping)
            if open_map or not set(part.get("required", ())) <= set(declared):
                return None
    try:
        return {"type": "json_schema", "schema": transform_schema(_one_type_each(schema))}
    except (ValueError, TypeError, AssertionError, RecursionError):
        return None  # a schema without a type somewhere, which Claude demands, or too deep


def in_words(schema: Mapping[str, Any], fault: str | None = None) -> str:
    """The instruction that asks for an answer of this schema; ``fault``: what was wrong with an earlier answer."""
    before = "" if fault is None else f"An earlier answer to this could not be used: {fault}. "
    asked = "Answer with one JSON value and nothing around it. It must be valid under this JSON Schema:\n"
    return before + asked + json.dumps(schema, ensure_ascii=False)


def _fits_strict_mode(schema: Mapping[str, Any]) -> bool:
    for part in _subschemas(schema):
        if not isinstance(part, Mapping) or not part.keys() <= _OPENAI_STRICT_WORDS:
            return False
        if "properties" in part or part.get("type") == "object":
            closed = part.get("additionalProperties") is False
            if not closed or set(part.get("required", ())) != set(part.get("properties", ())):
                return False
    return "anyOf" not in schema


def _subschemas(schema: Any) -> Iterator[Any]:
    """The schema and every schema in it, in any order; a value that is not a mapping is passed on as it is."""
    pending = [schema]
    while pending:
        part = pending.pop()
        yield part
        if not isinstance(part, Mapping):
            continue
        for word in ("properties", "$defs"):
            pending += part.get(word, {}).values()
        for word in ("anyOf", "oneOf", "allOf"):
            pending += part.get(word, ())
        if "items" in part:
            pending.append(part["items"])


def _one_type_each(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema, with each list of types as an ``anyOf`` (the SDK knows only single types)."""
    same = dict(schema)
    for word in ("properties", "$defs"):
        if word in same:
            same[word] = {name: _one_type_each(part) for name, part in same[word].items()}
    for word in ("anyOf", "oneOf", "allOf"):
        if word in same:
            same[word] = [_one_type_each(part) for part in same[word]]
    if "items" in same:
        same["items"] = _one_type_each(same["items"])
    if isinstance(same.get("type"), list) and not same.keys() & {"enum", "const"}:
        shared = {word: same.pop(word) for word in ("title", "description") if word in same}
        kinds = same.pop("type")
        return shared | {"anyOf": [{"type": kind} | _words_for(kind, same) for kind in kinds]}
    return same


def _words_for(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The part of a schema that is about one type."""
    words = {
        "object": ("properties", "required", "additionalProperties"),
        "array": ("items", "minItems", "maxItems", "uniqueItems"),
        "string": ("format", "pattern", "minLength", "maxLength"),
        "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
    words["integer"] = words["number"]
    return {word: schema[word] for word in words.get(kind, ()) if word in schema}
