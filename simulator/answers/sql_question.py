"""A question about data, prepared for matching it with tables and columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.answers.languages import gist
from simulator.answers.reading import COMMON, stem

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class DataQuestion:
    """The question as asked, in rough English and lower case, and the stems of its words that carry meaning."""

    asked: str
    lower: str
    words: frozenset[str]

    @classmethod
    def read(cls, text: str) -> DataQuestion:
        lower = gist(text)
        return cls(text, lower, frozenset(stem(word) for word in _WORDS.findall(lower) if word not in COMMON))
