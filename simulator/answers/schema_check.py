"""Whether a value is a valid JSON schema."""

from __future__ import annotations

import json
from typing import Any

from errors import InvalidSchemaError
from guards.schemas import check_schema


def compact(value: Any) -> str:
    """``value`` as JSON without blanks: the text of a schema or a tool that a model reads, and counts as input."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def schema_fault(schema: dict[str, Any]) -> str | None:
    """The error in ``schema``; ``None`` if there is none.

    The simulator serves all tenants of a test and has the bounds of the guards, so a schema cannot block it.
    """
    try:
        check_schema(schema)
    except InvalidSchemaError as error:
        place = (error.field or "").removeprefix("output_schema").removeprefix(".")
        return f"{place}: {error.message}" if place else error.message
    return None
