"""What goes into the books about one call: its run, as ``settle`` takes it, and its weight in the fair queue.

What a provider says that a call used is believed up to a few times the bound that was reserved for it: that is its
bill, recorded in full and flagged. Beyond that it cannot be, whatever the provider says. The call then counts as
*unknown*: it costs its reservation, and weighs no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from errors import ProviderError, ProviderHeldError
from router.providers.calls import CallReply, Usage
from router.providers.tiers import priced_as
from storage.money.runs import PlannedCall

#: So many times its bound is what a call may be said to have used.
BELIEVED: Final = 4
#: And so many tokens besides: a gateway's own prompt before a short question.
HIDDEN_TOKENS: Final = 1_000
TIER_UNPRICED: Final = "tier_unpriced"
"""Says of a run that its service tier has no price."""


@dataclass(frozen=True, slots=True)
class CallBooks:
    """One call's entry: the run, and the tokens that its tenant is charged with on the wire.

    ``absurd``: a usage that is not believed.
    """

    run: dict[str, Any]
    tokens: int
    absurd: Usage | None = None


def answered(call: PlannedCall, reply: CallReply, *, max_output_tokens: int, latency_ms: int) -> CallBooks:
    """The entry of a call that was answered."""
    facts: dict[str, Any] = {
        "http_status": 200,
        "provider_request_id": reply.provider_request_id,
        "latency_ms": latency_ms,
    }
    if reply.model != call.model:
        facts["answered_model"] = reply.model
    return _entry(call, "succeeded", reply.usage, reply.usage_fault, max_output_tokens, facts)


def failed(
    call: PlannedCall, error: ProviderError | ProviderHeldError, *, max_output_tokens: int, latency_ms: int
) -> CallBooks:
    """The entry of a call that failed: at its usage when that is known, else at nothing, or at the reservation."""
    if not isinstance(error, ProviderError):
        run = {"id": str(call.run_id), "status": "failed", "error_code": error.code, "latency_ms": latency_ms}
        return CallBooks(run, 0)
    facts = {
        "error_code": error.code,
        "http_status": error.http_status,
        "provider_request_id": error.request_id,
        "latency_ms": latency_ms,
    }
    if error.usage is not None:
        return _entry(call, "failed", error.usage, None, max_output_tokens, facts)
    # An answer that was lost may have been billed. Nothing can tell, so the run says so and costs its reservation.
    return CallBooks({"id": str(call.run_id), "status": "unknown" if error.billable is None else "failed"} | facts, 0)


def _entry(
    call: PlannedCall,
    status: str,
    usage: Usage | None,
    fault: str | None,
    max_output_tokens: int,
    facts: dict[str, Any],
) -> CallBooks:
    absurd = None
    if usage is not None and _beyond_belief(usage, call, max_output_tokens):
        absurd, usage, fault = usage, None, "usage_absurd"
    if usage is None:
        run = {"id": str(call.run_id), "status": "unknown"} | facts | {"error_code": fault or "usage_missing"}
        return CallBooks(run, call.input_bound + max_output_tokens, absurd)
    counts = {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    price = priced_as(usage.tier)
    tier = {} if price is None else {"service_tier": usage.tier, "priced_as": price}
    fault = fault or (TIER_UNPRICED if price == "reserved" and status == "succeeded" else None)
    flagged = {} if fault is None else {"error_code": fault}
    run = {"id": str(call.run_id), "status": status} | counts | facts | tier | flagged
    return CallBooks(run, usage.input_tokens + usage.output_tokens)


def _beyond_belief(usage: Usage, call: PlannedCall, max_output_tokens: int) -> bool:
    return (
        usage.input_tokens > BELIEVED * call.input_bound + HIDDEN_TOKENS
        or usage.output_tokens > BELIEVED * max_output_tokens + HIDDEN_TOKENS
    )
