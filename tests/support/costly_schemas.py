"""Schemas that cost a naive checker seconds or gigabytes."""

from __future__ import annotations

from typing import Any

CATASTROPHIC = (
    r"^(a+)+$",
    r"^(a|a)*$",
    r"^(a|aa)+$",
    r"^(.*)*$",
    r"^(a*)*b",
    r"(a+a+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"^(\w+\s?)*$",
    r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
    r"(.*a){20}",
)


def doubled(word: str, times: int = 40) -> dict[str, Any]:
    """Definitions that each refer to the next one twice."""
    parts: dict[str, Any] = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(times)}
    return {"$ref": "#/$defs/d0", "$defs": parts | {f"d{times}": {"type": "string"}}}
