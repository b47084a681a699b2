"""What is reported of one call: its run, as ``settle`` takes it, and its weight in the fair queue.

What a provider says that a call used is believed up to a few times the bound that was reserved for it: that is its
bill, recorded in full and flagged. Beyond that it cannot be, whatever the provider says. The call then counts as
*unknown*: it costs its reservation, and weighs no more.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from errors import ProviderError, ProviderHeldError, TierUnpricedError, UsageAbsurdError, UsageMissingError
from router.providers.calls import CallReply, Usage
from router.providers.tiers import priced_as
from storage.money.runs import PlannedCall

#: So many times its bound is what a call may be said to have used.
BELIEVED: Final = 4
#: And so many tokens besides: a gateway's own prompt before a short question.
HIDDEN_TOKENS: Final = 1_000

RunStatus: TypeAlias = Literal["succeeded", "failed", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """One call after it was made. Token counts are None where they are not known, or not believed.

    An *unknown* call costs its reservation: it may have been billed, and nothing says how much it used.
    ``charged_tokens``: what its tenant is charged with on the wire. ``absurd``: a usage that is not believed.
    """

    run_id: UUID
    status: RunStatus
    error_code: str | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    http_status: int | None = None
    latency_ms: int | None = None
    provider_request_id: str | None = None
    answered_model: str | None = None
    service_tier: str | None = None
    priced_as: str | None = None
    charged_tokens: int = 0
    absurd: Usage | None = None

    def as_settled(self) -> dict[str, Any]:
        """The run as ``settle`` takes it (``storage/money/functions/settle_run.sql``)."""
        facts = {name: value for name in _SETTLED if (value := getattr(self, name)) is not None}
        return {"id": str(self.run_id), **facts}


def answered(call: PlannedCall, reply: CallReply, *, max_output_tokens: int, latency_ms: int) -> CallReport:
    """The report of a call that was answered."""
    report = CallReport(
        run_id=call.run_id,
        status="succeeded",
        http_status=200,
        latency_ms=latency_ms,
        provider_request_id=reply.provider_request_id,
        answered_model=None if reply.model == call.model else reply.model,
    )
    return _with_usage(report, reply.usage, reply.usage_fault, call, max_output_tokens)


def failed(
    call: PlannedCall, error: ProviderError | ProviderHeldError, *, max_output_tokens: int, latency_ms: int
) -> CallReport:
    """The report of a call that failed: at its usage when that is known, else at nothing, or at the reservation."""
    report = CallReport(run_id=call.run_id, status="failed", error_code=error.code, latency_ms=latency_ms)
    if not isinstance(error, ProviderError):
        return report
    report = replace(report, http_status=error.http_status, provider_request_id=error.request_id)
    if error.usage is not None:
        return _with_usage(report, error.usage, None, call, max_output_tokens)
    # An answer that was lost may have been billed. Nothing can tell, so the run says so and costs its reservation.
    return replace(report, status="unknown") if error.billable is None else report


def _with_usage(
    report: CallReport, usage: Usage | None, fault: str | None, call: PlannedCall, max_output_tokens: int
) -> CallReport:
    absurd = None
    if usage is not None and _beyond_belief(usage, call, max_output_tokens):
        absurd, usage, fault = usage, None, UsageAbsurdError.code
    if usage is None:
        weight = call.input_bound + max_output_tokens
        return replace(
            report, status="unknown", error_code=fault or UsageMissingError.code, charged_tokens=weight, absurd=absurd
        )
    price = priced_as(usage.tier)
    fault = fault or (TierUnpricedError.code if price == "reserved" and report.status == "succeeded" else None)
    return replace(
        report,
        error_code=fault or report.error_code,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        service_tier=usage.tier,
        priced_as=price,
        charged_tokens=usage.input_tokens + usage.output_tokens,
    )


def _beyond_belief(usage: Usage, call: PlannedCall, max_output_tokens: int) -> bool:
    return (
        usage.input_tokens > BELIEVED * call.input_bound + HIDDEN_TOKENS
        or usage.output_tokens > BELIEVED * max_output_tokens + HIDDEN_TOKENS
    )


_SETTLED: Final = tuple(
    one.name for one in fields(CallReport) if one.name not in ("run_id", "charged_tokens", "absurd")
)
