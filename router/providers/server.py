"""An operator's facts about the server that a base URL names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerHabits:
    """How the server deals with a call. The provider itself, without a base URL, repeats no call and takes every field.

    ``retries``: it may ask the provider again by itself, so that behind an error of its own there may be answers that
    were paid for. ``takes_tags``: it takes ``metadata``, ``safety_identifier`` and ``service_tier``, which some
    gateways refuse. The provider itself is always asked for its standard tier.
    """

    retries: bool = True
    takes_tags: bool = True
