"""Input text made safe to keep and to send: characters that are invisible or that Postgres cannot store are removed.

Pure; imports nothing of ours.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any, Final

DEEPEST: Final = 64
"""Levels of lists and objects in a JSON value; deeper ones make every reader of it recurse too far."""

MOST_MARKS: Final = 30
"""Combining marks in a row that are kept; Unicode's Stream-Safe Text Format knows no word with more (UAX #15)."""

_LARGEST_INTEGER_BITS: Final = 1024  # up to the limit of a double; readers refuse or round larger numbers

# C0 and C1 controls but tab and newline, the byte order mark, and the bidirectional overrides that can make a text
# read differently from what it says (Unicode Technical Report 36; CVE-2021-42574).
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069]")
_NEWLINES = re.compile("\r\n?|\u2028|\u2029")
_TEXTS: Final = (str, bytes, bytearray)
_WITH_LENGTH: Final = (*_TEXTS, dict, list, tuple)
_TIBETAN_MARKS: Final = re.compile("[\u0f73\u0f75\u0f81]")  # become two marks, but do not count as marks themselves


def clean_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with plain newlines, without control characters.

    Of combining marks in a row the first :data:`MOST_MARKS` stay: composing sorts each row, in a time that grows with
    its square. So cleaning takes linear time, whatever the text.
    """
    if type(text) is str and text.isascii() and text.isprintable():
        return text  # most names and many questions: nothing to change
    text = _NEWLINES.sub("\n", text)
    text = _UNWANTED.sub("", text)
    text = text.encode("utf-8", "replace").decode("utf-8")  # half of a surrogate pair becomes a question mark
    if text.isascii():
        return text
    text = _short_rows(text)
    composed = unicodedata.normalize("NFC", text)
    return text if composed is text else _short_rows(composed)  # again, because some marks become two


def _short_rows(text: str) -> str:
    """The text without those combining marks that come after :data:`MOST_MARKS` others in a row."""
    # A row that is too long has a mark at one of these places. Few texts have any there, and marks are slow to look up.
    if len(text) <= MOST_MARKS:
        return text
    places = text[::MOST_MARKS]
    if not any(map(unicodedata.combining, places)) and not _TIBETAN_MARKS.search(places):
        return text
    kept, done, end = [], 0, 0
    for place in range(0, len(text), MOST_MARKS):
        if place < end or not _is_mark(text[place]):
            continue
        start, end = place, place + 1
        while start > done and _is_mark(text[start - 1]):
            start -= 1
        while end < len(text) and _is_mark(text[end]):
            end += 1
        if end - start > MOST_MARKS:
            kept.append(text[done : start + MOST_MARKS])
            done = end
    return "".join(kept) + text[done:]


def _is_mark(character: str) -> bool:
    return unicodedata.combining(character) > 0 or character in "\u0f73\u0f75\u0f81"


def room_after(value: Any, room: int, levels: int = DEEPEST) -> int:
    """The rest of a budget for characters and values once a JSON value is counted; below 0 there is none.

    It counts what cleaning would read, down to that many levels, and stops when the budget is used up: a list that
    holds itself a million times counts as that large.
    """
    kind = value.__class__
    if kind is str:
        return room - len(value)
    if isinstance(value, _WITH_LENGTH):
        if isinstance(value, _TEXTS):
            return room - len(value)
        if levels >= 0:
            if isinstance(value, dict):
                for name in value:
                    room -= len(name) if name.__class__ is str else 1
                value = value.values()
            for one in value:
                if one.__class__ is str:
                    room -= len(one) + 1
                else:
                    room = room_after(one, room - 1, levels - 1)
                if room < 0:
                    return room
    return room


def clean_json(value: Any) -> Any:
    """The same for every text inside a JSON value, keys included.

    :raises ValueError: it is not a JSON value (another type, NaN, infinity, a key that is not text), or it is nested
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
    raise ValueError(f"is not a JSON value: {type(value).__name__}{' out of range' * isinstance(value, int | float)}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"has a key that is not text: {type(key).__name__}")  # noqa: TRY004 (pydantic asks for it)
    return clean_text(key)
