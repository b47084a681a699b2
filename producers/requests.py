"""What may be asked: one request checked and cleaned at the door, with errors that name the field.

What needs the database (tenant, feature, prompt, its variables) is checked by ``headrace.enqueue_batch`` in the same
transaction that inserts the job; the rest is checked here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from errors import DeadlinePassedError, InvalidInputError, InvalidSchemaError, TooLongError
from guards.cleaning import clean_json, clean_text
from prompts.messages import Message
from router.tokens import count_o200k, estimate_input_tokens
from storage.ids import new_id

MAX_INPUT_BYTES = 400_000  # headrace.max_input_bytes() says the same; a test holds them together
_PROMPT_TOKENS = 300  # a prompt's own words, unknown at the door: for fairness only, never for money
_OUTPUT_TOKENS = 500  # an answer's expected length; a limit far above it must not make the job look heavy

Text = Annotated[str, BeforeValidator(lambda value: clean_text(value) if isinstance(value, str) else value)]
Json = Annotated[Any, BeforeValidator(clean_json)]
Id = Annotated[Text, Field(min_length=1, max_length=200)]


class _MessageIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: Annotated[Text, Field(min_length=1)]


class JobRequest(BaseModel):
    """One job as it is asked for; the fields are those of ``enqueue``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant_id: UUID
    user_id: Id
    feature: Annotated[str, Field(min_length=1, max_length=61)]
    prompt: Annotated[str, Field(min_length=1, max_length=61)] | None = None
    variables: dict[str, Text] | None = None
    messages: Annotated[list[_MessageIn], Field(min_length=1)] | None = None
    context: Json = None
    output_schema: dict[str, Any] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=200_000)] | None = None
    lane: Annotated[str, Field(min_length=1, max_length=31)] = "interactive"
    idempotency_key: Id | None = None
    run_at: datetime | None = None
    deadline: datetime | None = None
    on_over_budget: Literal["fail", "wait"] = "fail"
    on_unknown: Literal["retry", "fail"] = "retry"
    force_tier: Literal["cheap", "strong"] | None = None
    metadata: dict[str, Json] | None = None

    @model_validator(mode="after")
    def _one_input(self) -> JobRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt (with variables) or messages, not both and not neither")
        if self.messages is not None and self.variables is not None:
            raise ValueError("messages take no variables")
        return self


def check(fields: Mapping[str, Any], *, now: datetime | None = None) -> JobRequest:
    """Check and clean one request.

    Raises the :class:`errors.InvalidInputError` (or its kind) of the first field that is wrong.
    """
    try:
        request = JobRequest.model_validate(dict(fields))
    except ValidationError as error:
        raise _named(error) from error
    _check_times(request, now or datetime.now(UTC))
    _check_schema(request.output_schema)
    _check_size(request)
    return request


def as_row(request: JobRequest) -> dict[str, Any]:
    """The request as ``headrace.enqueue_batch`` takes it, with its new id and its estimate in tokens."""
    row = request.model_dump(mode="json", exclude_none=True, exclude={"tenant_id"})
    return {"id": str(new_id()), **row, "estimated_tokens": estimated_tokens(request)}


def estimated_tokens(request: JobRequest) -> int:
    """About how many tokens the job will use, input and output: what fair shares are charged until it is known."""
    if request.messages is not None:
        given = estimate_input_tokens([Message(one.role, one.content) for one in request.messages])
    else:
        given = sum(count_o200k(list((request.variables or {}).values()))) + _PROMPT_TOKENS
    return given + min(request.max_output_tokens or _OUTPUT_TOKENS, _OUTPUT_TOKENS)


def _check_times(request: JobRequest, now: datetime) -> None:
    for name in ("run_at", "deadline"):
        at: datetime | None = getattr(request, name)
        if at is not None and at.tzinfo is None:
            raise InvalidInputError("needs a time zone", field=name, value=at.isoformat(), hint="Write …Z for UTC.")
    if request.deadline is not None and request.deadline <= now:
        raise DeadlinePassedError(field="deadline", value=request.deadline.isoformat())
    if request.deadline is not None and request.run_at is not None and request.run_at >= request.deadline:
        raise DeadlinePassedError("is not after run_at", field="deadline", value=request.deadline.isoformat())


def _check_schema(schema: dict[str, Any] | None) -> None:
    if schema is None:
        return
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        where = ".".join(["output_schema", *(str(part) for part in error.absolute_path)])
        raise InvalidSchemaError(f"is no valid JSON schema: {error.message[:200]}", field=where) from error


def _check_size(request: JobRequest) -> None:
    for name in ("messages", "variables", "context", "output_schema"):
        value = request.model_dump(mode="json", include={name})[name]
        size = 0 if value is None else len(json.dumps(value, ensure_ascii=False).encode())
        if size > MAX_INPUT_BYTES:
            raise TooLongError(
                f"{size} bytes are over the cap of {MAX_INPUT_BYTES} bytes", field=name, hint="Split the input."
            )


def _named(error: ValidationError) -> InvalidInputError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"] if field and first["type"] != "missing" else None
    return InvalidInputError(message, field=field or "prompt", value=given)
