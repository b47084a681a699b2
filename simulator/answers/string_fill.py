"""A text that a JSON schema's ``format``, ``pattern`` and lengths accept, as near to a wanted text as they allow."""

from __future__ import annotations

import contextlib
import re
import uuid
from typing import Any

from guards.check_budget import CheckBudget
from guards.patterns import Pattern
from simulator.answers.dice import Dice
from simulator.answers.pattern_fill import UnreadablePatternError, sample
from simulator.answers.reading import shorten

_PADDING = " and so on"
_LONGEST = 100_000  # characters; longer requests get less


def fit_string(text: str, schema: dict[str, Any], dice: Dice, path: str, budget: CheckBudget) -> str:
    """``text``, or another one where ``schema`` forces it.

    A pattern that cannot be read or met together with the lengths is given up in favour of the lengths.
    """
    least = int(min(schema.get("minLength", 0), _LONGEST))
    most = schema.get("maxLength")
    limit = int(most) if most is not None else None
    if isinstance(schema.get("format"), str):
        text = _formatted(schema["format"], text, dice, path)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        matches = _Matches(pattern, least, limit, budget)
        if not matches(text):
            return _by_pattern(matches, text, dice)
    return _within(text, least, limit)


class _Matches:
    """Whether a text matches a pattern and the lengths; each text does if the pattern is not one that the guards
    accept.
    """

    def __init__(self, pattern: str, least: int, limit: int | None, budget: CheckBudget) -> None:
        self.pattern, self.least, self.limit = pattern, least, limit
        self.budget = budget
        self._pattern: Pattern | None = None
        with contextlib.suppress(ValueError):
            self._pattern = Pattern(pattern)

    def __call__(self, text: str, *, any_length: bool = False) -> bool:
        if len(text) < self.least or (not any_length and self.limit is not None and len(text) > self.limit):
            return False
        return self._pattern is None or self._pattern.is_in(text, self.budget)


def _by_pattern(matches: _Matches, text: str, dice: Dice) -> str:
    pattern, least, limit = matches.pattern, matches.least, matches.limit
    for extra in (2, 0, 1, 4, 8, 16, 32, 64, max(least, 0)):
        try:
            found = sample(pattern, dice, extra=min(extra, 512), budget=matches.budget)
        except UnreadablePatternError:
            break
        if len(found) < least:
            found = _padded(matches, found)
        if matches(found):
            return found
    return _within(text, least, limit)


def _padded(matches: _Matches, found: str) -> str:
    """A match made longer outside the part that matters, if the pattern leaves an end open."""
    least = matches.least
    for longer in (found + found[-1:] * (least - len(found)), _long_enough(found, least), "a" * least + found):
        if matches(longer, any_length=True):
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
