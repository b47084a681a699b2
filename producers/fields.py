"""The fields of a job, as callers write them: for type checkers. They are checked in :mod:`producers.requests`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, Required, TypeAlias, TypedDict
from uuid import UUID


class ModelClass(Protocol):
    """The part of a pydantic class that is used when it stands for its JSON schema."""

    def model_json_schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        ...


class ModelAdapter(Protocol):
    """The part of a pydantic ``TypeAdapter`` that is used when it stands for its JSON schema."""

    def json_schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        ...


OutputSchema: TypeAlias = Mapping[str, Any] | ModelClass | ModelAdapter


class Fields(TypedDict, total=False):
    """The keyword arguments of ``enqueue``. Times need a zone; tokens are output tokens."""

    tenant_id: Required[UUID | str]
    user_id: Required[str]
    feature: Required[str]
    prompt: str | None
    variables: Mapping[str, str] | None
    messages: Iterable[Mapping[str, str]] | None
    context: Any
    output_schema: OutputSchema | None
    max_output_tokens: int | None
    lane: str
    idempotency_key: str | None
    run_at: datetime | str | None
    deadline: datetime | str | None
    on_over_budget: Literal["fail", "wait"]
    on_unknown: Literal["retry", "fail"]
    force_tier: Literal["cheap", "strong"] | None
    metadata: Mapping[str, Any] | None
