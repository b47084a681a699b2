"""Input text made safe to keep and to send: what no reader can see and Postgres cannot store is taken out.

Pure; imports nothing of ours.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any, Final

DEEPEST: Final = 64
"""Levels of lists and objects in a JSON value; deeper ones make every reader of it recurse without end."""

_LARGEST_INTEGER_BITS: Final = 1024  # as far as a double reaches; readers refuse or round what is beyond

# C0 and C1 controls but tab and newline, the byte order mark, and the bidirectional overrides that can make a text
# read differently from what it says (Unicode Technical Report 36; CVE-2021-42574).
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_NEWLINES = re.compile("\r\n?|\u2028|\u2029")


def clean_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with plain newlines, without control characters."""
    if type(text) is str and text.isascii() and text.isprintable():
        return text  # most names and many questions: nothing to change
    text = _NEWLINES.sub("\n", text)
    text = _UNWANTED.sub("", text)
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes a question mark
    return unicodedata.normalize("NFC", text)


def clean_json(value: Any) -> Any:
    """The same for every text inside a JSON value, keys included.

    :raises ValueError: it is no JSON value (another type, NaN, infinity, a key that is no text), or it is nested
        deeper than :data:`DEEPEST` levels.
    """
    return _clean(value, DEEPEST)


def _clean(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict | list | tuple):
        if levels == 0:
            raise ValueError(f"is nested deeper than {DEEPEST} levels")
        if isinstance(value, dict):
            return {_key(key): _clean(one, levels - 1) for key, one in value.items()}
        return [_clean(one, levels - 1) for one in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() <= _LARGEST_INTEGER_BITS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"is no JSON value: {type(value).__name__}{' out of range' * isinstance(value, int | float)}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"has a key that is no text: {type(key).__name__}")  # noqa: TRY004 (pydantic asks for it)
    return clean_text(key)
