"""Whether a JSON schema is one."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError


def compact(value: Any) -> str:
    """``value`` as JSON without blanks: the text of a schema or a tool that a model reads, and counts as input."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def schema_fault(schema: dict[str, Any]) -> str | None:
    """What is wrong with ``schema``; ``None`` if nothing is."""
    return _fault(compact(schema))


@lru_cache(maxsize=256)
def _fault(schema: str) -> str | None:
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path)
        return f"{place}: {error.message[:200]}" if place else error.message[:200]
    return None
