"""The fields of a job, as callers write them: for type checkers. They are checked in :mod:`producers.requests`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Required, TypedDict
from uuid import UUID


class Fields(TypedDict, total=False):
    """The keyword arguments of ``enqueue``. Times need a zone; tokens are output tokens."""

    tenant_id: Required[UUID | str]
    user_id: Required[str]
    feature: Required[str]
    prompt: str | None
    variables: Mapping[str, str] | None
    messages: Iterable[Mapping[str, str]] | None
    context: Any
    output_schema: Mapping[str, Any] | None
    max_output_tokens: int | None
    lane: str
    idempotency_key: str | None
    run_at: datetime | str | None
    deadline: datetime | str | None
    on_over_budget: Literal["fail", "wait"]
    on_unknown: Literal["retry", "fail"]
    force_tier: Literal["cheap", "strong"] | None
    metadata: Mapping[str, Any] | None
