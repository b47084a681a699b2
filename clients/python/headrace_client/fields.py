"""The fields of a job: as callers write them, and as the SQL functions take them.

Headrace's functions check the content of a job, and name the field. The checks here are for values that would not get
there: types, times without a zone, values that are not JSON. Text loses what Postgres cannot store, as in Headrace's
own package: a NUL is dropped, half of a surrogate pair becomes a question mark. An id or a name that holds one is
refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, Required, TypeAlias, TypedDict
from uuid import UUID

from headrace_client.errors import InvalidInputError, InvalidSchemaError, TooLongError

MOST_BYTES: Final = 4_000_000
"""Of one request as JSON. Headrace's own cap is lower; a larger request is not sent at all."""

_UNSTORABLE: Final = re.compile("\x00|[\ud800-\udfff]")
_REFUSED: Final = "holds a control character, a line separator, a direction override or half of a surrogate pair"
_TEXTS: Final = (
    "user_id",
    "feature",
    "prompt",
    "lane",
    "idempotency_key",
    "on_over_budget",
    "on_unknown",
    "force_tier",
)
_NAMES: Final = ("user_id", "feature", "prompt", "lane", "idempotency_key")
_TIMES: Final = ("run_at", "deadline")
_JSON: Final = ("variables", "messages", "context", "output_schema", "metadata")
_INT4: Final = 2**31


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


_NAMES_OF_TENANTS: Final = (
    "Only options and arguments of the command line take a tenant's name: `headrace tenants list` shows the ids."
)


def tenant_of(fields: object) -> UUID:
    """The tenant of a request. Raises :class:`headrace_client.errors.InvalidInputError`."""
    if not isinstance(fields, Mapping):
        raise InvalidInputError("must be an object with the fields of enqueue", field="request", value=fields)
    if "tenant_id" not in fields:
        raise InvalidInputError("is needed", field="tenant_id")
    return as_uuid(fields["tenant_id"], "tenant_id")


def as_uuid(value: object, field: str) -> UUID:
    """An id, also where it came as text."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value) if isinstance(value, str) else "")
    except ValueError:
        hint = _NAMES_OF_TENANTS if field == "tenant_id" else None
        raise InvalidInputError("must be a UUID", field=field, value=value, hint=hint) from None


def as_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request without its tenant, as JSON values. Fields that are None are left out.

    Raises :class:`headrace_client.errors.InvalidInputError` (or its kind) naming the field.
    """
    row: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in Fields.__annotations__:
            raise InvalidInputError("is not a field of enqueue", field=_clean(str(name))[:60])
        if value is None or name == "tenant_id":
            continue
        if name in _TEXTS:
            row[name] = _text(name, value)
        elif name in _TIMES:
            row[name] = _time(name, value)
        elif name in _JSON:
            row[name] = _json(name, schema_of(value) if name == "output_schema" else value)
        else:
            row[name] = _tokens(name, value)
    for name in ("user_id", "feature"):
        if name not in row:
            raise InvalidInputError("is needed", field=name)
    return row


def schema_of(given: Any) -> Any:
    """The JSON schema of a pydantic class or ``TypeAdapter``; anything else as it is.

    Raises :class:`headrace_client.errors.InvalidSchemaError`.
    """
    if isinstance(given, Mapping):
        return given
    make = getattr(given, "model_json_schema", getattr(given, "json_schema", None))
    if not callable(make):
        return given
    try:
        return make()
    except Exception:  # noqa: BLE001 (whatever a class of the caller's raises; pydantic is not known here)
        named = getattr(given, "__name__", type(given).__name__)
        raise InvalidSchemaError(f"JSON schema cannot describe a field of {named}", field="output_schema") from None


def as_json(name: str, value: Any) -> str:
    """A value as JSON text. Raises :class:`headrace_client.errors.InvalidInputError` (or its kind) naming the field."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        kind = InvalidSchemaError if name == "output_schema" else InvalidInputError
        said = "is nested too deep" if isinstance(error, RecursionError) else f"is not a JSON value: {error}"
        raise kind(said, field=name) from None
    if len(text) > MOST_BYTES or (not text.isascii() and len(text.encode()) > MOST_BYTES):
        raise TooLongError(f"is over the cap of {MOST_BYTES} bytes", field=name, value=f"{len(text)} characters")
    return text


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError("must be text", field=name, value=value)
    if name in _NAMES and _UNSTORABLE.search(value):
        raise InvalidInputError(_REFUSED, field=name, value=value)
    return _clean(value)


def _clean(text: str) -> str:
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub(lambda found: "" if found[0] == "\x00" else "?", text)


def _time(name: str, value: object) -> str:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError("must be a time such as 2026-01-31T12:00:00Z", field=name, value=value) from None
    if not isinstance(value, datetime):
        raise InvalidInputError("must be a time", field=name, value=value)
    if value.tzinfo is None:
        raise InvalidInputError("needs a time zone", field=name, value=value.isoformat(), hint="Write …Z for UTC.")
    try:
        return value.astimezone(UTC).isoformat()
    except OverflowError:
        raise InvalidInputError("must be a time of the years 1 to 9999", field=name, value=value.isoformat()) from None


def _tokens(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT4 <= value < _INT4:
        raise InvalidInputError("must be a whole number of tokens", field=name, value=value)
    return value


def _json(name: str, value: Any) -> Any:
    if name == "messages" and not isinstance(value, str | bytes | Mapping) and isinstance(value, Iterable):
        value = list(value)
    try:
        return _cleaned(value, name)
    except RecursionError:  # nested without end, or in itself
        kind = InvalidSchemaError if name == "output_schema" else InvalidInputError
        raise kind("is nested too deep", field=name) from None


def _cleaned(value: Any, name: str) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInputError(f"has a key that is not text: {type(key).__name__}", field=name)
        return {_clean(key): _cleaned(one, name) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(one, name) for one in value]
    return value
