"""Tokens: counted from the text, never guessed.

OpenAI's models count o200k tokens. Anthropic publishes no tokenizer; half as many again as o200k stands in for it,
which stays inside the bounds that a caller can compute without the provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import toktok

ENCODING = "o200k_base"


@dataclass(frozen=True, slots=True)
class SimulatedUsage:
    """The tokens of one call. ``input_tokens`` includes those read from the prompt cache and those written to it."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    written_tokens: int = 0
    written_long_tokens: int = 0


def count(texts: Sequence[str]) -> list[int]:
    """The o200k tokens of each text."""
    counts: list[int] = toktok.batch_count(texts, ENCODING, threads=1)
    return counts


def cut(text: str, limit: int) -> tuple[str, int, bool]:
    """``text`` shortened to at most ``limit`` o200k tokens, its tokens, and whether anything was cut."""
    whole = count([text])[0]
    if whole <= limit:
        return text, whole, False
    allowed = limit
    while True:
        kept: str = toktok.truncate(text, allowed, ENCODING)[0]
        # A shorter text can split into other tokens than the longer one began with.
        counted = count([kept])[0]
        if counted <= limit:
            return kept, counted, True
        allowed -= 1
