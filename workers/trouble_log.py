"""What an operator is told of calls and jobs that fail: which provider, which status, which code.

Nothing here holds a prompt, an answer or a key. What a provider says of a refusal may quote them, so that stays with
the run and the job; only our own words are logged, about calls that got no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from errors import DeadlinePassedError, HeadraceError, ProviderError
from router.breakers import BreakerChange
from router.policy import Target
from storage.money.runs import PlannedCall
from workers.call_report import CallReport
from workers.log_sample import LogSample

log = structlog.get_logger("headrace.trouble")


class TroubleLog:
    """Writes a sample of what goes wrong. One a process, shared by its threads."""

    def __init__(self, sample: LogSample | None = None) -> None:
        self._sample = sample or LogSample()

    def call_failed(
        self, whose: Mapping[str, str], call: PlannedCall, error: ProviderError, *, latency_ms: int
    ) -> None:
        """A call was made and failed. ``whose``: the ids of tenant and job, here and below."""
        if not self._sample.lets("call.failed", whose["tenant_id"]):
            return
        log.warning(
            "call.failed",
            **whose,
            run_id=str(call.run_id),
            provider=call.provider,
            model=call.model,
            code=error.code,
            http_status=error.http_status,
            request_id=error.request_id,
            latency_ms=latency_ms,
            **({"error": error.message} if error.http_status is None else {}),
        )

    def fell_back(
        self, whose: Mapping[str, str], call: PlannedCall, *, instead_of: Target, why: HeadraceError | None
    ) -> None:
        """A job goes to its backup. ``why``: what kept the primary from answering; None: too little time for it."""
        if not self._sample.lets("call.fallback", whose["tenant_id"]):
            return
        log.warning(
            "call.fallback",
            **whose,
            run_id=str(call.run_id),
            provider=call.provider,
            model=call.model,
            instead_of=f"{instead_of.provider}:{instead_of.model}",
            code=DeadlinePassedError.code if why is None else why.code,
            http_status=getattr(why, "http_status", None),
        )

    def dead_letter(self, whose: Mapping[str, str], reason: str, error: Mapping[str, Any], **facts: Any) -> None:
        """A job has failed for good. ``error``: as it is kept with the job."""
        if not self._sample.lets("job.dead_letter", whose["tenant_id"]):
            return
        log.warning(
            "job.dead_letter",
            **whose,
            **facts,
            reason=reason,
            code=error.get("code"),
            provider=error.get("provider"),
            http_status=error.get("http_status"),
        )

    def reported(
        self, whose: Mapping[str, str], call: PlannedCall, report: CallReport, *, max_output_tokens: int
    ) -> None:
        """A call's report was made: an operator is told of what is odd in it."""
        facts = {"run_id": str(call.run_id), "provider": call.provider, "model": call.model}
        if report.absurd is not None and self._sample.lets("call.usage_absurd", whose["tenant_id"]):
            log.warning(
                "call.usage_absurd",
                **whose,
                **facts,
                input_tokens=report.absurd.input_tokens,
                output_tokens=report.absurd.output_tokens,
                input_bound=call.input_bound,
                max_output_tokens=max_output_tokens,
            )
        tier = report.service_tier
        if tier is not None and self._sample.lets("call.other_tier", whose["tenant_id"]):
            log.warning("call.other_tier", **whose, **facts, service_tier=tier, priced_as=report.priced_as)

    def breaker_changed(self, change: BreakerChange) -> None:
        """A breaker opened, or closed again."""
        facts = {"provider": change.provider} | ({} if change.tenant is None else {"tenant_id": change.tenant})
        if change.is_open and self._sample.lets("breaker.opened", change.tenant or ""):
            log.warning("breaker.opened", **facts, code=change.code, looks_again_in_s=change.reset_s)
        elif not change.is_open and self._sample.lets("breaker.closed", change.tenant or ""):
            log.info("breaker.closed", **facts, open_s=round(change.open_s, 1))

    def tell_suppressed(self, *, last: bool = False) -> None:
        """Say how many lines were not written, from time to time; ``last``: the process ends."""
        for one in self._sample.suppressed(last=last):
            log.warning("log.suppressed", of=one.event, lines=one.lines, within_s=one.within_s)
