"""The first error in a request body, in words that name the field."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError


@dataclass(frozen=True, slots=True)
class Fault:
    """The error, and the path of the field: names and list positions."""

    kind: str
    message: str
    path: tuple[str | int, ...]


def first_fault(error: ValidationError) -> Fault:
    """The fault to report, the deepest first: of a union's branches the one that got furthest is meant."""
    faults = [
        Fault(item["type"], item["msg"], tuple(part for part in item["loc"] if _is_field(part)))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return max(faults, key=lambda fault: len(fault.path))


def _is_field(part: str | int) -> bool:
    """Whether a part of a location is a field, not the name of a union's branch."""
    return isinstance(part, int) or (part not in ("str", "dict", "none") and "[" not in part and part[:1].islower())
