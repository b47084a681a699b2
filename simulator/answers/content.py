"""The content of an answer by schema: each field is written from the material, according to its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from simulator.answers import choice, prose
from simulator.answers.dice import Dice
from simulator.answers.reading import Reading, shorten

_INDEX = re.compile(r"\[(\d+)\]")
_YES = re.compile(
    r"valid|correct|pass|ok$|accept|adequate|complete|helpful|supported|grounded|sufficient|resolved", re.I
)
_QUALITY = re.compile(r"score|confidence|quality|probab|rating|certain|likelihood|grade|relevan", re.I)
_MONEY = re.compile(r"amount|price|cost|total|sum|value|fee|usd|eur", re.I)


class MaterialContent:
    """Writes values for :mod:`simulator.answers.schema_fill`."""

    def __init__(
        self, read: Reading, question: str, dice: Dice, fields: Sequence[tuple[str, Callable[[], str]]] = ()
    ) -> None:
        """Write from ``read``; ``fields`` are patterns of field names with their own writers, tried first."""
        self.dice = dice
        self._read = read
        self._question = question
        self._fields = fields

    def string(self, path: str, description: str) -> str:
        """A text for the field at ``path``."""
        name = _field(path)
        number = _number(path)
        read = self._read
        for pattern, write in (
            *self._fields,
            (r"summar|abstract|overview", lambda: prose.short_summary(read)),
            (r"title|subject|headline|topic", lambda: shorten(prose.short_summary(read), 80)),
            (r"reply|draft|response|answer|message|body", lambda: prose.reply_draft(read, self.dice)),
            (r"mail", _nth(read.mail_addresses, number)),
            (r"date|deadline|due|when", _nth(read.dates, number)),
            (r"amount|price|cost|total|sum$|fee|value", _nth(read.amounts, number)),
            (r"period|duration|notice|term$", _nth(read.spans, number)),
            (r"order|ticket|reference|invoice|number|id$", _nth(read.references, number)),
            (r"name|party|parties|person|customer|company|author", _nth(read.names, number)),
            (r"tag|keyword|label|topic|entit", _nth(read.keywords, number)),
            (r"lang", lambda: "en"),
            (r"reason|rationale|explan|justif|why|comment|feedback|note", self._reason),
        ):
            if re.search(pattern, name, re.I) and (text := write()) is not None:
                return text
        sentences = read.about(re.findall(r"\w+", f"{name} {description}".lower())) or read.key_sentences
        return shorten(sentences[number % len(sentences)], 240) if sentences else (read.text[:80] or name or "none")

    def choose(self, path: str, options: Sequence[Any]) -> int:
        """The option that fits the material."""
        return choice.choose(options, _field(path), self._read, self._question, self.dice)

    def number(self, path: str, low: float | None, high: float | None) -> float:
        """A number for the field at ``path``; a judgement lies in the upper part of its range."""
        name = _field(path)
        if _QUALITY.search(name):
            floor = low if low is not None else 0.0
            top = high if high is not None else (1.0 if floor <= 1 else floor + 10)
            return floor + (top - floor) * (0.55 + 0.43 * self.dice.unit(path))
        if _MONEY.search(name) and self._read.amounts:
            digits = re.sub(r"[^\d.]", "", self._read.amounts[_number(path) % len(self._read.amounts)].replace(",", ""))
            if re.fullmatch(r"\d+(?:\.\d+)?", digits):
                return float(digits)
        if re.search(r"count|number|quantity|words", name):
            return float(len(self._read.sentences))
        floor = low if low is not None else (min(0.0, high - 10) if high is not None else 0.0)
        top = high if high is not None else floor + 10
        return floor + (top - floor) * self.dice.unit(path)

    def boolean(self, path: str, description: str) -> bool:
        """Yes or no: a verdict is mostly yes; another question is yes if the material mentions it."""
        name = _field(path)
        if _YES.search(name):
            return self.dice.unit(path) < 0.85
        asked = [
            word for word in re.findall(r"[a-z]{4,}", name.lower().replace("_", " ")) if word not in ("needs", "has")
        ]
        return any(word in self._read.text.lower() for word in asked) or self.dice.unit(path) < 0.2

    def length(self, path: str, low: int, high: int) -> int:
        """The number of items of a list."""
        return low + self.dice.below(max(high - low, 0) + 1, path + " length")

    def _reason(self) -> str:
        words = self._read.keywords[:3]
        said = shorten(prose.short_summary(self._read), 160)
        return f"It speaks of {', '.join(words)}: {said}" if words else said


def _nth(found: list[str], number: int) -> Callable[[], str | None]:
    return lambda: found[number] if number < len(found) else None


def _field(path: str) -> str:
    """The name of the field at a path: ``reason`` of ``items[2].reason``, ``tags`` of ``tags[0]``."""
    return _INDEX.sub("", path).rpartition(".")[2]


def _number(path: str) -> int:
    """The item of a list that a path is in; 0 outside lists."""
    found = _INDEX.findall(path)
    return int(found[-1]) if found else 0
