"""The return values of calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from headrace_client.errors import HeadraceError

JobId = NewType("JobId", UUID)


class State(StrEnum):
    """The state of a job. The first three are live, the others are endings."""

    SCHEDULED = "scheduled"  # runnable later; ``reason`` says why
    QUEUED = "queued"  # runnable
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # attempts used up or a permanent error
    REJECTED = "rejected"  # a guard refused it
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # past its deadline

    @property
    def ended(self) -> bool:
        """Whether this is an ending."""
        return self not in (State.SCHEDULED, State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Result:
    """A job's state and, once it ended, its answer or error. ``cost_usd`` is of all its runs so far, in USD.

    ``output`` is the text, ``output_json`` the value when an output schema was asked for; ``finish`` is ``complete``,
    ``length`` (cut at the output limit) or ``refusal``. ``error`` is a mapping with ``code`` and ``message``.
    ``unreadable`` names what is kept and cannot be held by Python (JSON with a number of thousands of digits), with the
    reason; those fields are None. ``simulated``: the answer was invented by Headrace's simulator of the providers.
    """

    job_id: JobId
    state: State
    reason: str | None
    output: str | None
    output_json: Any
    finish: str | None
    error: Mapping[str, Any] | None
    attempts: int
    cost_usd: Decimal
    unreadable: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """One request of many that was not enqueued: its place among them, and why."""

    index: int
    error: HeadraceError


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcome of many requests. ``job_ids`` is as long as the input, None where one was refused.

    ``repeated``: the places of those whose idempotency key belongs to an earlier job, whose id is returned.
    """

    job_ids: Sequence[JobId | None]
    refused: Sequence[Refused]
    repeated: Collection[int] = frozenset()
