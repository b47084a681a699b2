"""One request checked and cleaned as it enters, with errors that name the field.

Checks that need the database (tenant, feature, prompt, its variables) are made by ``headrace.enqueue_batch`` in the
same transaction that inserts the job; the rest is checked here.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PydanticUserError, ValidationError

from errors import (
    DeadlinePassedError,
    ExtraVariableError,
    HeadraceError,
    InvalidInputError,
    InvalidSchemaError,
    TooLongError,
    by_code,
)
from guards.cleaning import clean_json, clean_text, room_after
from guards.schemas import check_schema
from router.tokens import count_o200k, frame_tokens
from storage.db import names
from storage.db.ids import new_id
from wording import describe

MAX_INPUT_BYTES = 400_000  # headrace.max_input_bytes() says the same; a test holds them together
NAMES_OF_TENANTS = (
    "Only options and arguments of the command line take a tenant's name: `headrace tenants list` shows the ids."
)
_MAX_RAW = 2 * MAX_INPUT_BYTES  # characters and values of one field before it is cleaned, which makes it shorter
_MAX_FIELDS = 100  # far more than there are: each unknown field would be reported
# headrace.is_usable_time says the same: a day from the ends of the calendar, so that any time zone can show it
_FIRST_TIME, _LAST_TIME = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_PROMPT_TOKENS = 300  # a prompt's own words, unknown at the door: for fairness only, never for money
_SHORT_BYTES, _TOKEN_BYTES = 1000, 4  # texts up to this length are not counted: a token is assumed for that many bytes
_FRAME_LETTERS = len('{"role": "assistant", "content": ""}, ')  # around a message; a variable's are fewer
_LETTER_BYTES = (
    4  # at most: UTF-8, or two for what JSON escapes (cleaning left no control character but tab and newline)
)
_OUTPUT_TOKENS = 500  # an answer's expected length; a limit far above it must not make the job look heavy


def _variables(value: Any) -> Any:
    """Cleaned; or only the first item that is not text, because a thousand would be a thousand errors."""
    value = clean_json(value)
    if isinstance(value, dict):
        return next(({name: one} for name, one in value.items() if not isinstance(one, str)), value)
    return value


def _messages(value: Any) -> Any:
    if isinstance(value, list):
        for one in value:
            if one.__class__ is dict and len(one) > _MAX_FIELDS:
                raise ValueError("a message takes nothing but role and content")
    return value


# strict: bytes would become text after cleaning
Text = Annotated[
    str, Field(strict=True), BeforeValidator(lambda value: clean_text(value) if isinstance(value, str) else value)
]
Json = Annotated[Any, BeforeValidator(clean_json)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(clean_json)]
Variables = Annotated[dict[str, str], BeforeValidator(_variables)]


def _name(most: int) -> BeforeValidator:
    """An id or a name: composed, and refused by the rule that applies to every way in."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        value = names.compose(value)
        why = names.name_fault(value, most)
        if why is not None:
            raise ValueError(why)
        return value

    return BeforeValidator(check)


Id = Annotated[str, Field(strict=True), _name(names.LONGEST_ID)]
FeatureName = Annotated[str, Field(strict=True), _name(names.LONGEST_FEATURE)]
LaneName = Annotated[str, Field(strict=True), _name(names.LONGEST_LANE)]


class _MessageIn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: Annotated[Text, Field(min_length=1)]


Messages = Annotated[list[_MessageIn], Field(min_length=1, fail_fast=True), BeforeValidator(_messages)]


class JobRequest(BaseModel):
    """One job as it is asked for; the fields are those of ``enqueue``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant_id: UUID
    user_id: Id
    feature: FeatureName
    prompt: FeatureName | None = None
    variables: Variables | None = None
    messages: Messages | None = None
    context: Json = None
    output_schema: JsonObject | None = None
    max_output_tokens: Annotated[int, Field(ge=16, le=200_000)] | None = None  # OpenAI's minimum is 16
    lane: LaneName = "interactive"
    idempotency_key: Id | None = None
    run_at: datetime | None = None
    deadline: datetime | None = None
    on_over_budget: Literal["fail", "wait"] = "fail"
    on_unknown: Literal["retry", "fail"] = "retry"
    force_tier: Literal["cheap", "strong"] | None = None
    metadata: JsonObject | None = None


def check(fields: Mapping[str, Any], *, now: datetime | None = None) -> JobRequest:
    """Check and clean one request.

    Raises the :class:`errors.InvalidInputError` (or its kind) of the first field that is wrong.
    """
    if not isinstance(fields, Mapping):
        raise InvalidInputError("must be an object with the fields of enqueue", field="request", value=_shown(fields))
    given = dict(fields)
    if isinstance(given.get("messages"), Iterator):
        given["messages"] = list(given["messages"])
    if "output_schema" in given:
        given["output_schema"] = schema_of(given["output_schema"])
    _check_raw_size(given)
    try:
        request = JobRequest.model_validate(given)
    except ValidationError as error:
        raise _named(error) from error
    _check_one_input(request)
    _check_times(request, now or datetime.now(UTC))
    _check_size(request)
    if request.output_schema is not None:
        check_schema(request.output_schema)
    return request


def schema_of(given: Any) -> Any:
    """The JSON schema of a pydantic class or ``TypeAdapter``; anything else as it is.

    :raises InvalidSchemaError: the class has a field that JSON schema cannot describe.
    """
    if isinstance(given, Mapping):
        return given
    make = getattr(given, "model_json_schema", getattr(given, "json_schema", None))
    if not callable(make):
        return given
    try:
        return make()
    except PydanticUserError as error:
        named = getattr(given, "__name__", type(given).__name__)
        raise InvalidSchemaError(f"JSON schema cannot describe a field of {named}", field="output_schema") from error


def as_row(request: JobRequest) -> dict[str, Any]:
    """The request as ``headrace.enqueue_batch`` takes it, with its new id and its estimate in tokens."""
    (row,) = as_rows([request])
    return row


def as_rows(requests: Sequence[JobRequest]) -> list[dict[str, Any]]:
    """The same for many requests: their texts are counted in one call."""
    return [
        {
            "id": str(new_id()),
            **request.model_dump(mode="json", exclude_none=True, exclude={"tenant_id"}),
            "estimated_tokens": tokens,
        }
        for request, tokens in zip(requests, _estimates(requests), strict=True)
    ]


def refusal(error: Mapping[str, Any], request: JobRequest | None = None) -> HeadraceError:
    """What the database refused, as the typed error that its ``code`` names.

    ``headrace.enqueue`` tells no value, because Postgres would log it: then it is taken from the request.
    """
    facts = dict(error)
    kind = by_code(facts.pop("code"))
    field = facts.pop("field", None)
    value = facts.pop("value", getattr(request, field or "", None))
    facts.pop("length", None)
    if facts.get("known") and isinstance(value, str):  # the values that exist, as this tenant may see them
        facts["hint"] = names.did_you_mean(value, facts["known"])
    return kind(facts.pop("message"), field=field, value=value, **facts)


def estimated_tokens(request: JobRequest) -> int:
    """About how many tokens the job will use, input and output: the charge for fair shares until the use is known.

    Short texts are estimated from their bytes: the tokenizer would take longer than a check of the whole request, and
    its gain in accuracy is small beside the answer.
    """
    (tokens,) = _estimates([request])
    return tokens


def size_of(request: JobRequest) -> int:
    """About how many bytes the job has as JSON, rather too many than too few."""
    size = sum(len(text) * (1 if text.isascii() else _LETTER_BYTES) for text in _texts(request))
    size += _FRAME_LETTERS * (len(_texts(request)) + 10)
    for value in (request.context, request.output_schema, request.metadata):
        if value:
            size += len(json.dumps(value))
    return size


def _estimates(requests: Sequence[JobRequest]) -> Iterator[int]:
    sizes = [sum(len(text.encode()) for text in _texts(request)) for request in requests]
    long = [request for request, size in zip(requests, sizes, strict=True) if size > _SHORT_BYTES]
    counts = iter(count_o200k(text for request in long for text in _texts(request)) if long else ())
    for request, size in zip(requests, sizes, strict=True):
        short = size <= _SHORT_BYTES
        given = math.ceil(size / _TOKEN_BYTES) if short else sum(islice(counts, len(_texts(request))))
        around = _PROMPT_TOKENS if request.messages is None else frame_tokens(len(request.messages))
        yield given + around + min(request.max_output_tokens or _OUTPUT_TOKENS, _OUTPUT_TOKENS)


def _texts(request: JobRequest) -> Collection[str]:
    if request.messages is not None:
        return [one.content for one in request.messages]
    return (request.variables or {}).values()


def _check_one_input(request: JobRequest) -> None:
    if (request.prompt is None) == (request.messages is None):
        raise InvalidInputError(
            "give either prompt (with variables) or messages, not both and not neither",
            field="prompt",
            value=request.prompt,
        )
    if request.messages is not None and request.variables is not None:
        raise ExtraVariableError("messages take no variables", field="variables", value=request.variables)


def _check_times(request: JobRequest, now: datetime) -> None:
    for name in ("run_at", "deadline"):
        at: datetime | None = getattr(request, name)
        if at is not None and at.tzinfo is None:
            raise InvalidInputError("needs a time zone", field=name, value=at.isoformat(), hint="Write …Z for UTC.")
        if at is not None and not _FIRST_TIME <= at < _LAST_TIME:
            raise InvalidInputError("must be a time of the years 1 to 9999", field=name, value=at.isoformat())
    if request.deadline is not None and request.deadline <= now:
        raise DeadlinePassedError(field="deadline", value=request.deadline.isoformat())
    if request.deadline is not None and request.run_at is not None and request.run_at >= request.deadline:
        raise DeadlinePassedError("is not after run_at", field="deadline", value=request.deadline.isoformat())


def _check_raw_size(fields: Mapping[str, Any]) -> None:
    """Before any other work: nothing below has to handle more than a few times the cap."""
    if len(fields) > _MAX_FIELDS:
        raise InvalidInputError("has too many fields", field="request", value=f"{len(fields)} fields")
    for name, value in fields.items():
        if value is not None and room_after(value, _MAX_RAW) < 0:
            raise TooLongError(
                f"is over the cap of {MAX_INPUT_BYTES} bytes",
                field=str(name)[:60],
                value=f"over {_MAX_RAW} characters",
                hint="Split the input.",
            )


def _check_size(request: JobRequest) -> None:
    for name in ("messages", "variables", "context", "output_schema"):
        value = getattr(request, name)
        if value is None or (name in ("messages", "variables") and _is_small(request)):
            continue
        size = len(json.dumps(value, ensure_ascii=False, default=_MessageIn.model_dump).encode())
        if size > MAX_INPUT_BYTES:
            raise TooLongError(
                f"is over the cap of {MAX_INPUT_BYTES} bytes",
                field=name,
                value=f"{size} bytes",
                hint="Split the input.",
            )


def _is_small(request: JobRequest) -> bool:
    """Whether messages or variables fit, however their text is encoded. Most do, and need not be written out to know
    it.
    """
    texts = _texts(request)
    names = request.variables or ()
    letters = sum(map(len, texts)) + sum(map(len, names)) + _FRAME_LETTERS * len(texts) + 2
    return _LETTER_BYTES * letters <= MAX_INPUT_BYTES


def _shown(value: object) -> str:
    """A value of any kind: endless, deep, or of a type that cannot print itself."""
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"<{type(value).__name__}>"


def _named(error: ValidationError) -> InvalidInputError:
    first = error.errors(include_url=False)[0]
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    given = None if first["type"] == "missing" else first["input"]
    if not isinstance(given, str | float | None) and not (isinstance(given, int) and given.bit_length() <= 64):
        given = _shown(given)
    kind = InvalidSchemaError if field.startswith("output_schema") else InvalidInputError
    hint = NAMES_OF_TENANTS if field == "tenant_id" and first["type"].startswith("uuid") else None
    return kind(describe(first), field=field or "request", value=given, hint=hint)
