"""Every error that Headrace raises, in one hierarchy.

One distinction rules it: a *retryable* error may go away by itself, a *permanent* one never does, a *not now* is not a
failure but a reason to wait. Each class has a stable ``code`` (stored with the job, shown by the console, used by
programs) and carries its facts in fields, so that a program does not have to parse a message.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

_ENDS: Final = (".", "!", "?", "…", ":")  # of a sentence


class HeadraceError(Exception):
    """Something that Headrace can name went wrong."""

    code: ClassVar[str] = "headrace_error"

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
        :param field: the input field or setting at fault.
        :param value: the value that was refused (shortened when printed; never a secret).
        :param hint: what the reader can do about it.
        :param details: further facts for programs (JSON-serialisable).
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


class NotNowError(HeadraceError):
    """The request is valid, but it has to wait. Waiting uses up no attempt."""

    code = "not_now"


class NotEndedError(RetryableError):
    """The job has not ended in the time that the caller gave it."""

    code = "not_ended"


class SchemaWaitsError(NotNowError):
    """Another large output schema of the tenant is being read in this process."""

    code = "schema_waits"


class FeatureNotHereError(NotNowError):
    """The feature is published, and the routing policy of this process does not have it yet."""

    code = "feature_not_here"


# ---------------------------------------------------------------------------------------------- the caller's input


class InvalidInputError(PermanentError):
    """The input does not hold what it must."""

    code = "invalid_input"


class UnknownTenantError(InvalidInputError):
    """No such tenant."""

    code = "unknown_tenant"


class NameTakenError(InvalidInputError):
    """Another tenant has this name or this external id."""

    code = "name_taken"


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


class InvalidPromptError(InvalidInputError):
    """The prompt is malformed."""

    code = "invalid_prompt"


class DeadlinePassedError(InvalidInputError):
    """The deadline has passed."""

    code = "deadline_passed"


class IdempotencyConflict(InvalidInputError):  # noqa: N818 (the name is part of the interface)
    """The idempotency key was used before with another request."""

    code = "idempotency_conflict"


class CommandUsageError(InvalidInputError):
    """The command line cannot be understood."""

    code = "usage"


class NotFoundError(PermanentError):
    """It does not exist, or it is not yours."""

    code = "not_found"


# ------------------------------------------------------------------------------------------------ the job's own end


class JobRejectedError(PermanentError):
    """A guard refused the job."""

    code = "rejected"


class OverBudgetError(JobRejectedError):
    """The job's worst case does not fit under a hard cap."""

    code = "over_budget"


class UnpricedModelError(JobRejectedError):
    """No price is known for the model, and nothing runs unpriced."""

    code = "unpriced_model"


class NoProviderKeyError(JobRejectedError):
    """No key is configured for a provider that could run this job."""

    code = "no_provider_key"


class JobCancelledError(PermanentError):
    """An operator cancelled the job."""

    code = "cancelled"


class OutcomeUnknownError(PermanentError):
    """The outcome of a call is unknown, and the job asked not to be repeated then."""

    code = "outcome_unknown"


class PoisonError(PermanentError):
    """Workers fell silent while they ran the job, more often than allowed."""

    code = "poison"


class OverdueError(PermanentError):
    """Claims of the job ran past their time in live workers, more often than allowed."""

    code = "overdue"


class WorkerLostError(RetryableError):
    """The worker released the job during a call: whether the call was billed is unknown."""

    code = "worker_lost"


# ------------------------------------------------------------------------------------------------------- providers


class ProviderError(HeadraceError):
    """A provider's call failed.

    ``billable`` says whether the provider may have charged for it: ``False`` when it answered with an error, ``None``
    when that cannot be known (the answer was lost), ``True`` when it did: then ``usage`` says for what.
    """

    code = "provider_error"
    billable: bool | None = False
    timed_out: bool = False  # whether a timeout says anything about the provider depends on how much time the call had

    def __init__(
        self,
        message: str | None = None,
        *,
        provider: str,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        usage: Any = None,
        **details: Any,
    ) -> None:
        self.provider = provider
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.usage = usage
        if usage is not None:
            self.billable = True
        super().__init__(message, provider=provider, http_status=http_status, **details)


class ProviderUnavailableError(ProviderError, NotNowError):
    """The provider answered that it cannot serve now (5xx, overloaded)."""

    code = "provider_unavailable"


class ProviderRateLimitedError(ProviderError, NotNowError):
    """The provider limits our rate."""

    code = "provider_rate_limited"


class ProviderUnreachableError(ProviderError, NotNowError):
    """The request never reached the provider (no connection), so nothing can have been billed."""

    code = "provider_unreachable"


class ProviderNotSentError(ProviderError, PermanentError):
    """The request could not be sent from here: our side refused it, so the provider never received it."""

    code = "provider_not_sent"


class ProviderAnswerLostError(ProviderError, RetryableError):
    """The request was sent but no complete answer came back: whether it was billed is unknown."""

    code = "provider_answer_lost"
    billable = None


class ProviderTimeoutError(ProviderAnswerLostError):
    """The call passed its total timeout: whether it was billed is unknown."""

    code = "provider_timeout"
    timed_out = True


class ProviderMalformedAnswerError(ProviderAnswerLostError):
    """The provider's answer could not be read: whether it was billed is unknown."""

    code = "provider_malformed_answer"


class ProviderAnswerTooLargeError(ProviderAnswerLostError):
    """The provider's answer was larger than the limit, so it was not read to its end."""

    code = "provider_answer_too_large"


class ProviderEmptyAnswerError(ProviderError, RetryableError):
    """The provider answered, but with no text: nothing, only reasoning, or a tool call that was not asked for."""

    code = "provider_empty_answer"
    billable = None


class ProviderRefusedError(ProviderError, PermanentError):
    """The provider refused the request for good (4xx)."""

    code = "provider_refused"


class ProviderRequestTooLargeError(ProviderRefusedError):
    """The request is larger than the provider takes, or than a gateway in front of it lets through."""

    code = "provider_request_too_large"


class ProviderAuthError(ProviderError, NotNowError):
    """The provider refused the key."""

    code = "provider_auth"


class ProviderForbiddenError(ProviderError, NotNowError):
    """The provider refuses this model, this region or this account, although the key is valid."""

    code = "provider_forbidden"


class ProviderQuotaError(ProviderError, NotNowError):
    """The provider account has no quota left: its owner has to top it up."""

    code = "provider_quota"


class UsageMendedError(ProviderError):
    """The usage that the provider stated was inconsistent and has been corrected."""

    code = "usage_mended"


class UsageMissingError(ProviderError):
    """The provider stated no usage: the call is charged at its reserved worst case."""

    code = "usage_missing"
    billable = None


class UsageAbsurdError(ProviderError):
    """The usage that the provider stated is impossible: the call is charged at its reserved worst case."""

    code = "usage_absurd"
    billable = None


class TierUnpricedError(ProviderError):
    """The provider served the call in a service tier without a price: it costs its reserved worst case or more."""

    code = "tier_unpriced"


class ProviderHeldError(NotNowError):
    """Calls to the provider are paused: nothing was sent."""

    code = "provider_held"


class BreakerOpenError(ProviderHeldError):
    """The provider's breaker is open after repeated failures: calls to it are paused."""

    code = "breaker_open"


class RateLimitHeldError(ProviderHeldError):
    """The provider limits our rate, and the time that it named has not passed."""

    code = "rate_limit_held"


class OutputInvalidError(RetryableError):
    """The model's answer does not match the output schema."""

    code = "output_invalid"


class SchemaTooCostlyError(PermanentError):
    """Checking the answer against its output schema costs more than the limit."""

    code = "schema_too_costly"


class InternalFaultError(RetryableError):
    """A bug in Headrace."""

    code = "internal_fault"


class ResultNotStorableError(PermanentError):
    """The outcome of the job could not be stored."""

    code = "result_not_storable"


class NotTogetherError(InternalFaultError):
    """One of several grouped steps failed, so the group was rolled back; each step is repeated alone"""

    code = "not_together"


# ------------------------------------------------------------------------------------------------------ the biller


class BillerError(HeadraceError):
    """The billing service did not accept an event.

    ``received`` says whether it may have the event all the same: ``False`` when it certainly has not, ``None`` when
    that cannot be known (the answer was lost).
    """

    code = "biller_error"
    received: ClassVar[bool | None] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        **details: Any,
    ) -> None:
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        super().__init__(message, http_status=http_status, request_id=request_id, **details)


class BillerUnavailableError(BillerError, RetryableError):
    """The billing service cannot be reached, or accepts no more events for now."""

    code = "biller_unavailable"


class BillerAnswerLostError(BillerError, RetryableError):
    """The answer was incomplete or not understood: the billing service may have the event."""

    code = "biller_answer_lost"
    received = None


class BillerRefusedError(BillerError, PermanentError):
    """The billing service refuses this event."""

    code = "biller_refused"


class BillerAuthError(BillerError, PermanentError):
    """The billing service refuses the key."""

    code = "biller_auth"


# --------------------------------------------------------------------------------------------- set-up and services


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


class StatementFailedError(StatementError, RetryableError):
    """Postgres failed at the statement again and again: it lacks resources, or the statement needs too many."""

    code = "statement_failed"


class CutOffError(RetryableError):
    """A statement took too long, or waited too long for a lock"""

    code = "cut_off"


class RedisUnavailableError(ServiceError):
    """Redis does not answer."""

    code = "redis_unavailable"


class RabbitUnavailableError(ServiceError):
    """RabbitMQ does not answer."""

    code = "rabbitmq_unavailable"


class UnsafeRoleError(ConfigurationError):
    """The database role could bypass row-level security."""

    code = "unsafe_role"


class MigrationError(PermanentError):
    """A migration could not be applied."""

    code = "migration"


def by_code(code: str) -> type[HeadraceError]:
    """The error class with this ``code`` (:class:`HeadraceError` when there is none)."""
    pending: list[type[HeadraceError]] = [HeadraceError]
    while pending:
        kind = pending.pop()
        if kind.code == code:
            return kind
        pending.extend(kind.__subclasses__())
    return HeadraceError
