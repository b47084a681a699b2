"""The words of this project for what is wrong with a field or a setting.

The checks are pydantic's, and their readers do not know that there is a pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from errors import ConfigurationError

_BY_KIND: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not a known field",
    "unexpected_keyword_argument": "is not a known field",
    "none_required": "must be left out",
    "string_type": "must be text",
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_unicode": "must be UTF-8 text",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a number of fewer digits",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "model_attributes_type": "must be an object of names and values",
    "recursion_loop": "is nested in itself",
    "recursion_depth_exceeded": "is nested too deep",
    "invalid_key": "has a key that is not text",
    "json_invalid": "is not valid JSON",
    "json_type": "must be JSON text",
    "timezone_aware": "needs a time zone",
}
# ... and whole families, by the first part of the kind: all of ``datetime_parsing``, ``datetime_from_date_parsing``, …
_BY_FAMILY: Final[Mapping[str, str]] = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "dict": "must be an object of names and values",
    "mapping": "must be an object of names and values",
    "dataclass": "must be an object of names and values",
    "model": "must be an object of names and values",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
    "iterable": "must be a list",
    "uuid": "must be a UUID",
    "datetime": "must be a time such as 2026-01-31T12:00:00Z",
    "date": "must be a day such as 2026-01-31",
    "path": "must be a path",
    "url": "must be a URL",
    "bytes": "must be text",
}
_BEFORE_OURS: Final = ("Value error, ", "Assertion failed, ")  # what pydantic puts before a check's own words
_ANY_OTHER: Final = "is not what it must be"


def describe(found: Mapping[str, Any]) -> str:
    """One finding of ``ValidationError.errors()``, with its context, in our words. Field and value are separate."""
    kind: str = found["type"]
    context: Mapping[str, Any] = found.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return without_foreign_words(str(found["msg"]))
    if kind in ("string_too_short", "too_short", "string_too_long", "too_long", "bytes_too_short", "bytes_too_long"):
        return _length(kind, found.get("input"), context)
    template = _BY_KIND.get(kind) or _BY_FAMILY.get(kind.partition("_")[0], _ANY_OTHER)
    return template.format_map(context)


def without_foreign_words(message: str) -> str:
    """The message without pydantic's prefix, which is at its start or after a colon.

    A requirement reads "must be", not "Input should be".
    """
    for before in _BEFORE_OURS:
        message = message.removeprefix(before).replace(f": {before}", ": ", 1)
    return message.replace(": Input should be ", ": must be ", 1)


def of_settings(error: ValueError) -> ConfigurationError | None:
    """The typed error for a setting that cannot be read, or None when the error is about something else.

    The values of keys and URLs are not shown.
    """
    if type(error).__name__ == "SettingsError":  # a setting that is a JSON object, and the text is not JSON
        name = re.search(r'field "(\w+)"', str(error))
        return ConfigurationError("is not valid JSON", field=_variable(name[1] if name else "lane_weights"))
    if getattr(error, "title", None) != "Settings":
        return None
    found: list[Mapping[str, Any]] = error.errors(include_url=False)  # type: ignore[attr-defined]  # a ValidationError
    name_of_it = str(found[0]["loc"][0])
    is_secret = name_of_it.lower().endswith(("_key", "_url"))
    return ConfigurationError(
        describe(found[0]), field=_variable(name_of_it), value=None if is_secret else found[0]["input"]
    )


def needed(value: str | None, setting: str, *, hint: str) -> str:
    """The value of a setting that has no default.

    :param setting: its environment variable.
    :param hint: how it gets a value.
    :raises ConfigurationError: it is not set.
    """
    if value is None:
        raise ConfigurationError("is not set", field=setting, hint=hint)
    return value


def _length(kind: str, given: object, context: Mapping[str, Any]) -> str:
    is_text = isinstance(given, str | bytes)
    if kind.endswith("too_short"):
        least = context["min_length"]
        if least == 1:
            return "must not be empty"
        return f"needs {least} {'characters' if is_text else 'entries'} or more"
    most = context["max_length"]
    return f"takes {most} {'characters' if is_text else 'entries'} at most"


def _variable(setting: str) -> str:
    return setting if setting.isupper() else f"HEADRACE_{setting.upper()}"
