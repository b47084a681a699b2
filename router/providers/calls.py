"""A call to any provider: the request, the reply, and the usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import UUID

from prompts.messages import Message

__all__ = ["CallReply", "CallRequest", "Finish", "Message", "Provider", "Usage", "is_simulated"]

Finish = Literal["complete", "length", "refusal"]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One attempt on the wire. ``run_id`` names it there too; ``timeout_s`` is for all of it, in seconds.

    ``end_user`` is the user's pseudonym (:mod:`router.pseudonyms`): the id itself is not for providers.
    ``hurried``: the job's own deadline left the call less than its whole time, so that running out of time says
    nothing about the provider. ``output_fault``: what was wrong with the answer of the attempt before, so that this one
    asks for its schema in words too. ``api_key`` is a tenant's own key, used instead of the platform's; it shows in no
    ``repr``.
    """

    run_id: UUID
    job_id: UUID
    tenant_id: str
    end_user: str
    feature: str
    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int
    output_schema: Mapping[str, Any] | None
    timeout_s: float
    hurried: bool = False
    api_key: str | None = field(default=None, repr=False)
    output_fault: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed, on one scale for all providers.

    ``input_tokens`` is all of the input: what was read from and written to the cache lies inside it.
    ``output_tokens`` is all of the output: ``reasoning_tokens`` lies inside it. ``tier`` is the service tier that the
    provider says it used, if it is not the standard one (:mod:`router.providers.tiers`).
    """

    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class CallReply:
    """An answer. ``finish`` says why it ends: done, cut at ``max_output_tokens`` (or the context), or refused.

    ``usage`` is ``None`` when the provider gave none that is possible; ``usage_fault`` says what was wrong with it,
    also when it could be repaired (``usage_missing``, ``usage_absurd``, ``usage_mended``).
    """

    text: str
    usage: Usage | None
    model: str
    provider_request_id: str | None
    finish: Finish
    usage_fault: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether the simulator invented the answer: its ids say so, wherever the settings led."""
        return is_simulated(self.provider_request_id)


def is_simulated(request_id: str | None) -> bool:
    """Whether a provider's request id is the simulator's."""
    return (request_id or "").partition("_")[2].startswith("sim_")


class Provider(Protocol):
    """A provider's capability to answer messages with text. Safe for many threads at once."""

    name: str

    def call(self, request: CallRequest) -> CallReply:
        """Ask once; no retries inside.

        :raises errors.ProviderError: no other error is raised.
        """
        ...
