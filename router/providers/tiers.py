"""Service tiers: the tier that a call asks for, and the price of a call that another tier answered.

Prices are those of the standard tier, and of a provider's batches. So a call asks for the standard tier by name.
Without a name, a setting of the account could choose a more expensive tier, which the reservation did not count.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from router.providers.text import one_line

#: The values that ask for the standard tier: OpenAI's ``service_tier``, and Anthropic's.
OPENAI_STANDARD: Final = "default"
ANTHROPIC_STANDARD: Final = "standard_only"

#: Longest name of a tier that is kept, characters.
_NAME_LENGTH: Final = 40
# Names of the standard tier in an answer, compatible servers' included. "auto" was asked for, and tells no tier.
_STANDARD: Final = frozenset({"", "default", "standard", "standard_only", "on_demand", "auto", "none"})
# OpenAI bills flex at the rates of its batches; both providers' batches have a price.
_LIKE_A_BATCH: Final = frozenset({"flex", "batch"})

PricedAs = Literal["batch", "reserved"]


def other_tier(said: Any) -> str | None:
    """The tier that an answer names if it is not the standard one; ``None`` where it names none."""
    name = one_line(said, _NAME_LENGTH).lower()
    return None if name in _STANDARD else name


def priced_as(tier: str | None) -> PricedAs | None:
    """How a call is priced that this tier answered; ``None``: by the tier that was asked for.

    A tier without a price costs the reservation, or its tokens where that is more: ``reserved``.
    """
    if tier is None:
        return None
    return "batch" if tier in _LIKE_A_BATCH else "reserved"
