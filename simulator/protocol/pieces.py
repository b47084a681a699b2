"""A text in the pieces in which a stream of events carries it."""

from __future__ import annotations

import re

_WORD = re.compile(r"\s*\S+\s*")
WORDS_A_PIECE = 4


def pieces(text: str) -> list[str]:
    """``text`` in pieces of a few words; joined they give it back."""
    words = _WORD.findall(text) or ([text] if text else [])
    return ["".join(words[start : start + WORDS_A_PIECE]) for start in range(0, len(words), WORDS_A_PIECE)]
