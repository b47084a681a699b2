"""Output schemas: is it a JSON schema that answers can be checked against, and is this answer one of it?

A schema may only refer to itself. What a reference elsewhere would do is fetch from wherever the caller says, from
inside our network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import jsonschema
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator

from errors import InvalidSchemaError

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_SHOWN: Final = 200
_FIELD: Final = "output_schema"
_WORTH_KEEPING: Final = 10_000  # characters


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema, and references that lead out of it or nowhere.

    Raises :class:`errors.InvalidSchemaError` naming the place in the schema and the value there.
    """
    text = json.dumps(schema)
    if len(text) <= _WORTH_KEEPING:
        _check_once(text)
    else:
        _check(schema)


def mismatch(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why the value does not match a schema that was checked before, or None when it does."""
    try:
        error = best_match(_class_of(schema)(schema).iter_errors(value))
    except RecursionError:
        return "the schema refers to itself without end"
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path) or "the whole"
    return f"at {where}: {error.message[:_SHOWN]}"


# A check costs milliseconds, and a backfill asks for the same schema a million times.
@lru_cache(maxsize=256)
def _check_once(text: str) -> None:
    _check(json.loads(text))


def _check(schema: Mapping[str, Any]) -> None:
    dialect = schema.get("$schema")
    if dialect is not None and not isinstance(dialect, str):
        raise InvalidSchemaError("must be the URI of a dialect", field=f"{_FIELD}.$schema", value=dialect)
    try:
        _class_of(schema).check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        where = ".".join([_FIELD, *(str(part) for part in error.absolute_path)])
        raise InvalidSchemaError(
            f"is no valid JSON schema: {error.message[:_SHOWN]}", field=where, value=error.instance
        ) from error
    for where, part in _objects(schema, _FIELD):
        if part is not schema and isinstance(part.get("$id"), str):
            raise InvalidSchemaError("only the whole schema may have an $id", field=f"{where}.$id", value=part["$id"])
        for word in _REFERENCES:
            target = part.get(word)
            if isinstance(target, str) and not _leads_somewhere(target, schema):
                raise InvalidSchemaError(
                    "must refer to a part of this schema",
                    field=f"{where}.{word}",
                    value=target,
                    hint='Write "#/$defs/name" and put the part there.',
                )


def _class_of(schema: Mapping[str, Any]) -> type[Validator]:
    return jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)


def _objects(value: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object inside, and where it is."""
    if isinstance(value, Mapping):
        yield where, value
        for key, one in value.items():
            yield from _objects(one, f"{where}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _objects(one, f"{where}[{index}]")


def _leads_somewhere(reference: str, schema: Any) -> bool:
    """Whether a reference is a JSON pointer (RFC 6901) to an object or a truth value inside the schema."""
    if not reference.startswith("#"):
        return False
    part = schema
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(part, Mapping) and name in part:
            part = part[name]
        elif isinstance(part, list) and name.isdigit() and int(name) < len(part):
            part = part[int(name)]
        else:
            return False
    return reference[1:2] in ("", "/") and isinstance(part, Mapping | bool)
