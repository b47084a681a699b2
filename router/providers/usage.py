"""A provider's report of a call's usage, made consistent before any figure is computed from it.

It is read apart from the rest of an answer: if the rest is broken, the cost is still known. An impossible usage is
never a failure of the call. If only a detail is wrong it is repaired; if the counts themselves are wrong, the usage is
unknown. Either way a fault says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from router.providers.calls import Usage
from router.providers.tiers import other_tier

UsageFault = Literal["usage_missing", "usage_absurd", "usage_mended"]

#: No call of any model uses more, and the books accept no more (``headrace.figure``).
MOST_TOKENS: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class UsageRead:
    """A usage as far as it can be known, and the faults of the report."""

    usage: Usage | None
    fault: UsageFault | None = None

    def beside(self, text: str) -> UsageRead:
        """The same, checked against the answer: a text needs some input, and some output."""
        usage = self.usage
        if usage is not None and text and not (usage.input_tokens and usage.output_tokens):
            return UsageRead(None, "usage_absurd")
        return self


def openai_usage(said: Any, tier: Any = None) -> UsageRead:
    """The ``usage`` of a Responses object, or of a chat completion from a server that speaks that instead.

    ``tier`` is the ``service_tier`` beside it.
    """
    if not isinstance(said, dict):
        return UsageRead(None, "usage_missing")
    of_input = said.get("input_tokens_details") or said.get("prompt_tokens_details")
    of_output = said.get("output_tokens_details") or said.get("completion_tokens_details")
    return _consistent(
        _Counts(said),
        input_names=("input_tokens", "prompt_tokens"),
        output_names=("output_tokens", "completion_tokens"),
        cached=(_Counts(of_input), "cached_tokens"),
        written=(_Counts(of_input), "cache_write_tokens"),
        reasoning=(_Counts(of_output), "reasoning_tokens"),
        cache_is_inside=True,
        tier=other_tier(tier),
    )


def anthropic_usage(said: Any) -> UsageRead:
    """The ``usage`` of a Messages object. Its count of the input does not include the tokens read from or written to
    the cache.
    """
    if not isinstance(said, dict):
        return UsageRead(None, "usage_missing")
    counts = _Counts(said)
    fast = said.get("speed") == "fast"  # a price of its own too
    return _consistent(
        counts,
        input_names=("input_tokens",),
        output_names=("output_tokens",),
        cached=(counts, "cache_read_input_tokens"),
        written=(counts, "cache_creation_input_tokens"),
        reasoning=(_Counts(said.get("output_tokens_details")), "thinking_tokens"),
        cache_is_inside=False,
        tier="fast" if fast else other_tier(said.get("service_tier")),
    )


class _Counts:
    """An object of counts; none of them need be valid."""

    def __init__(self, said: Any) -> None:
        self._said = said if isinstance(said, dict) else {}
        self.mended = said is not None and not isinstance(said, dict)

    def first(self, *names: str) -> int | None:
        """The first of these that is there; ``None`` if none is, or if it cannot be a count."""
        value = next((self._said[name] for name in names if self._said.get(name) is not None), None)
        return self._count(value)

    def detail(self, name: str) -> int | None:
        """The same for a count that may be left out: then it is 0."""
        return 0 if self._said.get(name) is None else self._count(self._said[name])

    def _count(self, value: Any) -> int | None:
        if isinstance(value, float) and math.isfinite(value) and abs(value) <= MOST_TOKENS:
            self.mended = self.mended or value != int(value)
            value = math.ceil(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return value
        return None


def _consistent(
    counts: _Counts,
    *,
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    cached: tuple[_Counts, str],
    written: tuple[_Counts, str],
    reasoning: tuple[_Counts, str],
    cache_is_inside: bool,
    tier: str | None,
) -> UsageRead:
    input_tokens, output_tokens = counts.first(*input_names), counts.first(*output_names)
    read, wrote, thought = (of.detail(name) for of, name in (cached, written, reasoning))
    if input_tokens is None or output_tokens is None or (not cache_is_inside and (read is None or wrote is None)):
        return UsageRead(None, "usage_absurd")
    mended = None in (read, wrote, thought) or any(of.mended for of in (counts, cached[0], reasoning[0]))
    if not cache_is_inside:
        input_tokens += (read or 0) + (wrote or 0)
    if input_tokens > MOST_TOKENS:
        return UsageRead(None, "usage_absurd")
    # Input that is not cached has the higher price: a count that is not certain counts as that.
    sure_read = min(read or 0, input_tokens)
    sure_written = min(wrote or 0, input_tokens - sure_read)
    sure_thought = min(thought or 0, output_tokens)
    mended = mended or (sure_read, sure_written, sure_thought) != (read, wrote, thought)
    usage = Usage(input_tokens, sure_read, sure_written, output_tokens, sure_thought, tier)
    return UsageRead(usage, "usage_mended" if mended else None)
