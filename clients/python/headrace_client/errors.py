"""The errors of the client, in one hierarchy; names and codes are those of Headrace's own errors.

One distinction rules it: a *retryable* error may go away by itself, a *permanent* one never does. Each error has a
stable ``code`` and carries its facts in fields, so that a program does not have to parse a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

_ENDS: Final = (".", "!", "?", "…", ":")  # of a sentence


class HeadraceError(Exception):
    """Something that Headrace can name went wrong."""

    code: str = "headrace_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        value: object = None,
        hint: str | None = None,
        **details: Any,
    ) -> None:
        """Describe the error.

        :param message: what was wrong; the first line of the class docstring if left out.
        :param field: the argument or setting at fault.
        :param value: the value that was refused (shortened when printed; never a secret).
        :param hint: what the reader can do about it.
        :param details: further facts for programs.
        """
        self.message = message or (self.__doc__ or self.code).splitlines()[0]
        self.field = field
        self.value = value
        self.hint = hint
        self.details = details
        super().__init__(self.message)

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        if self.value is not None:
            text = f"{text.rstrip().removesuffix('.')} (got {_short(self.value)})"
        return joined(text, self.hint)

    def as_dict(self) -> dict[str, Any]:
        """The error for programs: ``code``, ``message``, ``field``, ``value``, ``hint`` and details."""
        facts: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            facts["field"] = self.field
        if self.value is not None:
            facts["value"] = _short(self.value)
        if self.hint is not None:
            facts["hint"] = self.hint
        return facts | self.details


def joined(said: str, hint: str | None) -> str:
    """The error and its hint, with exactly one full stop (or other end of a sentence) between them."""
    if not hint:
        return said
    said = said.rstrip()
    return f"{said}{'' if said.endswith(_ENDS) else '.'} {hint.lstrip()}"


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or a list that contains itself
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 120 else text[:100] + f"… ({len(text)} characters)"


class PermanentError(HeadraceError):
    """The job will fail again in the same way: do not repeat it."""

    code = "permanent"


class RetryableError(HeadraceError):
    """A repeated attempt may succeed."""

    code = "retryable"


class NotEndedError(RetryableError):
    """The job has not ended in the time that the caller gave it."""

    code = "not_ended"


class InvalidInputError(PermanentError):
    """The input does not hold what it must."""

    code = "invalid_input"


class UnknownTenantError(InvalidInputError):
    """No such tenant."""

    code = "unknown_tenant"


class UnknownFeatureError(InvalidInputError):
    """No such feature in the routing policy."""

    code = "unknown_feature"


class UnknownPromptError(InvalidInputError):
    """No such prompt."""

    code = "unknown_prompt"


class UnknownLaneError(InvalidInputError):
    """No such lane."""

    code = "unknown_lane"


class MissingVariableError(InvalidInputError):
    """The prompt declares a variable that was not given."""

    code = "missing_variable"


class ExtraVariableError(InvalidInputError):
    """A variable was given that the prompt does not declare."""

    code = "extra_variable"


class TooLongError(InvalidInputError):
    """The input is over the length cap."""

    code = "too_long"


class InvalidSchemaError(InvalidInputError):
    """The output schema is not a valid JSON schema, or over a bound."""

    code = "invalid_schema"


class DeadlinePassedError(InvalidInputError):
    """The deadline has passed."""

    code = "deadline_passed"


class IdempotencyConflict(InvalidInputError):  # noqa: N818 (the name is that of Headrace's own)
    """The idempotency key was used before with another request."""

    code = "idempotency_conflict"


class NotFoundError(PermanentError):
    """It does not exist, or it is not yours."""

    code = "not_found"


class ConfigurationError(PermanentError):
    """A setting is wrong."""

    code = "configuration"


class ServiceError(RetryableError):
    """A service that Headrace needs does not answer."""

    code = "service_unavailable"


class PostgresUnavailableError(ServiceError):
    """Postgres does not answer."""

    code = "postgres_unavailable"


class StatementError(HeadraceError):
    """Postgres answered, and did not execute the statement."""

    code = "statement_error"


class StatementRefusedError(StatementError, PermanentError):
    """Postgres refuses the statement and would refuse it again: the code or the data is wrong."""

    code = "statement_refused"


def refusal(facts: Mapping[str, Any], *, value: object = None) -> HeadraceError:
    """The database's refusal, as the typed error that its ``code`` names.

    A code that this release does not know is kept on an :class:`InvalidInputError`. ``value`` is used where the
    database gives none, because Postgres would log it.
    """
    rest = dict(facts)
    code = str(rest.pop("code", InvalidInputError.code))
    told = rest.pop("value", None)
    rest.pop("length", None)
    if isinstance(value, str) and isinstance(rest.get("known"), list):
        near = get_close_matches(value[:200].casefold(), rest["known"], n=1)
        rest["hint"] = " ".join([*(f"Did you mean {one}?" for one in near), str(rest.get("hint") or "")]).strip()
    error = _BY_CODE.get(code, InvalidInputError)(
        rest.pop("message", None), field=rest.pop("field", None), value=value if told is None else told, **rest
    )
    error.code = code
    return error


def _kinds(kind: type[HeadraceError]) -> dict[str, type[HeadraceError]]:
    found = {kind.code: kind}
    for one in kind.__subclasses__():
        found |= _kinds(one)
    return found


_BY_CODE = _kinds(HeadraceError)
