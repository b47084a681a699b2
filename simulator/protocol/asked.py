"""The content of one request, in the same form for both providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the answer has to call, with the JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """The end of a prefix that the prompt cache may keep: the first ``texts`` of :attr:`SimulatedRequest.texts`."""

    texts: int
    long_lived: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedRequest:
    """One request.

    ``texts`` is every text that counts as input, in the order in which the provider reads it; ``messages`` is how many
    messages they came in. ``raw`` is the request body, for the fields that a provider echoes. ``account_tier`` is the
    service tier of calls that leave it open; None is the standard one.
    """

    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    messages: int
    breakpoints: tuple[Breakpoint, ...]
    max_output_tokens: int | None
    schema: dict[str, Any] | None
    tool: Tool | None
    json_mode: bool
    stop: tuple[str, ...]
    stream: bool
    raw: dict[str, Any]
    account_tier: str | None = None

    @property
    def question(self) -> str:
        """The last message to the model."""
        return next((text for role, text in reversed(self.turns) if role != "assistant"), "")
