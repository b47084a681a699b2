"""The tier of a job, by rules that cost microseconds.

Pure: no service, no clock, nothing of ours is imported, so that every rule can be read, tested and replayed on its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TIERS = frozenset({"cheap", "strong"})

_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class JobTraits:
    """The facts that the rules look at. ``input_tokens`` is an estimate; ``force_tier`` is the caller's own choice, if
    any.
    """

    feature: str
    plan: str
    input_tokens: int
    has_code_block: bool
    force_tier: str | None


def choose_tier(
    traits: JobTraits,
    *,
    hard_features: frozenset[str],
    long_input_tokens: int = 20_000,
    report_features: frozenset[str] = frozenset({"report"}),
) -> tuple[str, str]:
    """The tier of a job and the name of the rule that chose it. The first rule that matches wins, in this order:

    ``forced`` (the caller named a tier), ``enterprise_report`` (a report for a tenant on the enterprise plan),
    ``long_input`` (more than ``long_input_tokens`` tokens go in), ``hard_feature``, ``code_block``; these lead to the
    strong tier, ``default`` to the cheap one.

    :raises ValueError: ``force_tier`` is not a tier.
    """
    if traits.force_tier is not None:
        if traits.force_tier not in TIERS:
            raise ValueError(f"force_tier must be one of {sorted(TIERS)}, not {traits.force_tier!r}")
        return traits.force_tier, "forced"
    if traits.plan == "enterprise" and traits.feature in report_features:
        return "strong", "enterprise_report"
    if traits.input_tokens > long_input_tokens:
        return "strong", "long_input"
    if traits.feature in hard_features:
        return "strong", "hard_feature"
    if traits.has_code_block:
        return "strong", "code_block"
    return "cheap", "default"


def has_code_block(text: str) -> bool:
    """Whether the text holds a fenced code block: a line that begins with three backticks or tildes (Markdown).

    Code without a fence does not count: guessing it from ``def`` or ``SELECT`` sends prose about code to the expensive
    tier, and the features whose input is code are marked ``hard`` anyway.
    """
    # A search for one character is twenty times faster than for three, and almost every text has neither.
    may_have = ("`" in text and "```" in text) or ("~" in text and "~~~" in text)
    return may_have and _FENCE.search(text) is not None
