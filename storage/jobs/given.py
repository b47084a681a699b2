"""What a caller gave with a job, as a claim finds it: a row that is older than the doors may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from storage.db.reading import Unreadable, is_deeper_than

MOST_LEVELS: Final = 64
"""Lists and objects in each other. The doors say the same (``guards/cleaning.py``, ``is_too_deep.sql``)."""


def unreadable_fields(row: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a claimed row that cannot be worked with, each with the reason, which never quotes them."""
    return {
        name: why
        for name, check in _GIVEN.items()
        if (given := row[name]) is not None and (why := check(given)) is not None
    }


def _why_not_document(given: Any) -> str | None:
    """Why JSON of any shape cannot be worked with."""
    if isinstance(given, Unreadable):
        return given.why
    return f"is nested deeper than {MOST_LEVELS} levels" if is_deeper_than(given, MOST_LEVELS) else None


def _why_not_object(given: Any) -> str | None:
    return _why_not_document(given) or (None if isinstance(given, dict) else "needs to be an object")


def _why_not_variables(given: Any) -> str | None:
    return _why_not_object(given) or (
        None if all(isinstance(text, str) for text in given.values()) else "needs an object of name and text"
    )


def _why_not_messages(given: Any) -> str | None:
    if isinstance(given, Unreadable):
        return given.why
    if isinstance(given, list) and all(_is_message(one) for one in given):
        return None
    return 'needs a list of {"role", "content"}'


def _is_message(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)


_GIVEN: Final = {
    "variables": _why_not_variables,
    "messages": _why_not_messages,
    "context": _why_not_document,
    "output_schema": _why_not_object,
    "metadata": _why_not_object,
}
