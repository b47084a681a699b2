"""The tokens of a request: an estimate for fairness and routing, an upper bound for money.

Only OpenAI publishes its tokenizer (o200k, bundled by ``toktok``). Claude's is not public, so its bound is a formula
fitted to the counts of the API: newer models need 1.2 to 2.4 tokens where o200k needs one (English and code 1.6, German
2.2, Arabic 2.4; base64 up to 1.9 times half its bytes), and ``min(1.6 × UTF-8 bytes, 2.5 × o200k + 64)`` held on every
sample. If a provider bills more than its bound, the usage is not refused but recorded in full and flagged.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import toktok

from prompts.messages import Message

# The provider's additions to the text: the role and the separators of each message, the frame of the whole.
_PER_MESSAGE = 4
_PER_REQUEST = 16

# Families whose tokenizer is o200k. Older models (gpt-4, gpt-3.5) use cl100k, which can need more: they are unknown.
_O200K_MODELS = re.compile(r"^(?:gpt-4o|gpt-4\.1|gpt-[5-9]|gpt-[1-9]\d|o\d|chatgpt-)")

# An output schema is rendered into a hidden prompt of some hundred tokens, in a notation that can be twice as long.
_SCHEMA_PROMPT = 600
_SCHEMA_FACTOR = 2


def count_o200k(texts: Iterable[str]) -> list[int]:
    """The o200k tokens of each text, in order; the GIL is released meanwhile.

    25 µs a call, 0.3 µs a short text, 35 µs for 20 kB: pass many texts in one call.
    """
    # One thread: the callers are threads of a worker already, and starting a pool costs more than a text does.
    return [int(count) for count in toktok.batch_count([_sound(text) for text in texts], "o200k_base", threads=1)]


Count: TypeAlias = Callable[[Iterable[str]], list[int]]
"""Counts the o200k tokens of each text, in order."""


class CountedTexts:
    """The o200k tokens of texts, each of which is counted once. A plan asks for the same ones up to three times."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def add(self, texts: Iterable[str]) -> None:
        """Count the new texts in one call."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, count_o200k(new), strict=True))

    def __call__(self, texts: Iterable[str]) -> list[int]:
        """The tokens of each text, in order."""
        texts = list(texts)
        self.add(texts)
        return [self._known[text] for text in texts]


def estimate_input_tokens(messages: Sequence[Message], *, count: Count = count_o200k) -> int:
    """The estimated number of tokens of the messages, for routing and fair shares; never for money."""
    return sum(count(message.content for message in messages)) + frame_tokens(len(messages))


def frame_tokens(messages: int) -> int:
    """The tokens around the texts of that many messages."""
    return _PER_MESSAGE * messages + _PER_REQUEST


def input_token_bound(
    provider: str,
    model: str,
    messages: Sequence[Message],
    schema: Mapping[str, Any] | None = None,
    *,
    output_fault: str | None = None,
    count: Count = count_o200k,
) -> int:
    """No request with these messages and this output schema is billed for more input tokens than this.

    With an ``output_fault`` the schema is also given in words, which say what was wrong. The bound follows the model's
    family; a model of no known family gets the highest bound.
    """
    texts = [message.content for message in messages]
    bound = _bound_of(provider, model)
    tokens = bound(texts, count) + frame_tokens(len(messages))
    if schema is not None:
        written = json.dumps(schema, ensure_ascii=False)
        tokens += _SCHEMA_FACTOR * bound([written], count) + _SCHEMA_PROMPT
        if output_fault is not None:
            tokens += bound([written, output_fault], count) + _SCHEMA_PROMPT
    return tokens


def _bound_of(provider: str, model: str) -> Callable[[Sequence[str], Count], int]:
    if provider == "openai" and _O200K_MODELS.match(model):
        return _bound_o200k
    if provider == "anthropic" and model.startswith("claude-"):
        return _bound_claude
    return _bound_bytes


def _bound_o200k(texts: Sequence[str], count: Count) -> int:
    return sum(count(texts))


def _bound_claude(texts: Sequence[str], count: Count) -> int:
    return min(_bound_bytes(texts, count), math.ceil(2.5 * sum(count(texts))) + 64)


def _bound_bytes(texts: Sequence[str], _count: Count) -> int:
    """A tokenizer over bytes cannot need more than one token a byte; 1.6 leaves room for stranger ones."""
    return math.ceil(1.6 * sum(len(_sound(text).encode()) for text in texts))


def _sound(text: str) -> str:
    """The text as it travels: a lone surrogate has no UTF-8 and goes out as ``?`` (see ``router.providers``)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
