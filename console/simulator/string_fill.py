"""A text that a JSON schema's ``format``, ``pattern`` and lengths accept, as near to a wanted text as they allow."""

from __future__ import annotations

import re
import uuid
from typing import Any

from console.simulator.dice import Dice
from console.simulator.pattern_fill import UnreadablePatternError, sample
from console.simulator.reading import shorten

_PADDING = " and so on"


def fit_string(text: str, schema: dict[str, Any], dice: Dice, path: str) -> str:
    """``text``, or another one where ``schema`` forces it.

    A pattern that cannot be read or met together with the lengths is given up in favour of the lengths.
    """
    least = int(schema.get("minLength", 0))
    most = schema.get("maxLength")
    limit = int(most) if most is not None else None
    if isinstance(schema.get("format"), str):
        text = _formatted(schema["format"], text, dice, path)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not _matches(pattern, text, least, limit):
        return _by_pattern(pattern, text, dice, least, limit)
    return _within(text, least, limit)


def _matches(pattern: str, text: str, least: int, limit: int | None) -> bool:
    if len(text) < least or (limit is not None and len(text) > limit):
        return False
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _by_pattern(pattern: str, text: str, dice: Dice, least: int, limit: int | None) -> str:
    for extra in (2, 0, 1, 4, 8, 16, 32, 64, max(least, 0)):
        try:
            found = sample(pattern, dice, extra=min(extra, 512))
        except UnreadablePatternError:
            break
        if len(found) < least:
            found = _padded(pattern, found, least)
        if _matches(pattern, found, least, limit):
            return found
    return _within(text, least, limit)


def _padded(pattern: str, found: str, least: int) -> str:
    """A match made longer outside the part that matters, if the pattern leaves an end open."""
    for longer in (found + found[-1:] * (least - len(found)), _long_enough(found, least), "a" * least + found):
        if len(longer) >= least and _matches(pattern, longer, least, None):
            return longer
    return found


def _within(text: str, least: int, limit: int | None) -> str:
    text = _long_enough(text, least)
    if limit is None or len(text) <= limit:
        return text
    short = shorten(text, limit)
    return short if len(short) >= least else text[:limit]


def _long_enough(text: str, least: int) -> str:
    if len(text) >= least:
        return text
    repeats = (least - len(text)) // len(_PADDING) + 1
    return (text + _PADDING * repeats)[:least].rstrip().ljust(least, ".")


def _formatted(kind: str, text: str, dice: Dice, path: str) -> str:
    day = f"2025-{dice.below(12, path + 'month') + 1:02}-{dice.below(28, path + 'day') + 1:02}"
    clock = f"{dice.below(24, path + 'hour'):02}:{dice.below(60, path + 'minute'):02}:00Z"
    word = re.sub(r"[^a-z]+", "-", text.lower())[:20].strip("-") or "example"
    match kind:
        case "date":
            return day
        case "time":
            return clock
        case "date-time":
            return f"{day}T{clock}"
        case "duration":
            return f"P{dice.below(30, path) + 1}D"
        case "email" | "idn-email":
            return f"{word}@example.com"
        case "hostname" | "idn-hostname":
            return f"{word}.example.com"
        case "uri" | "iri" | "url" | "uri-reference":
            return f"https://example.com/{word}"
        case "uuid":
            return str(uuid.UUID(int=dice.below(2**64, path) << 64 | dice.below(2**64, path + "low"), version=4))
        case "ipv4":
            return f"192.0.2.{dice.below(254, path) + 1}"
        case "ipv6":
            return f"2001:db8::{dice.below(65_535, path) + 1:x}"
        case _:
            return text
