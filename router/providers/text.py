"""A provider's texts, made safe to store: without characters that Postgres cannot store, and of bounded length."""

from __future__ import annotations

import re
from typing import Final

#: Longest id, model name or code of a provider that is kept, characters.
NAME_LENGTH: Final = 200

_HALVES = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def storable(text: str) -> str:
    """The text without what Postgres cannot store: NUL is dropped, half of a surrogate pair becomes ``�``."""
    if text.isascii() and "\x00" not in text:
        return text
    return _HALVES.sub("\ufffd", text.replace("\x00", ""))


def one_line(value: object, length: int = NAME_LENGTH) -> str:
    """A text in one line of at most ``length`` characters; control characters become blanks. No text: ``""``."""
    if not isinstance(value, str):
        return ""
    return _UNPRINTABLE.sub(" ", value[:length]).strip()
