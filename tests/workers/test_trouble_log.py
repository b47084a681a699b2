"""What fails is told in a bounded number of lines, of which each tenant has its part; the rest is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from errors import ProviderRefusedError, ProviderUnreachableError
from router.breakers import BreakerChange
from router.policy import Target
from storage.db.ids import new_id
from storage.money.runs import PlannedCall
from tests.support.hand_clock import Clock
from workers.log_sample import FIRST_LINES, FURTHER_LINES, TOLD_EVERY_S, LogSample, Suppressed
from workers.trouble_log import TroubleLog

CALL = PlannedCall(new_id(), "answer", "openai", "gpt-6-luna", "cheap", "r", True, 1, 1, None, None)
UNREACHABLE = ProviderUnreachableError("a:1 refuses connections", provider="openai")
REFUSED = ProviderRefusedError("HTTP 400: a piece of the prompt", provider="openai", http_status=400, request_id="r1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def whose(tenant: object, job: object = "job") -> dict[str, str]:
    return {"tenant_id": str(tenant), "job_id": str(job), "claim_id": "claim"}


def test_one_tenants_failures_take_no_line_of_another(clock: Clock) -> None:
    trouble = TroubleLog(LogSample(clock=clock))
    with capture_logs() as lines:
        for n in range(10_000):
            trouble.call_failed(whose("noisy", n), CALL, UNREACHABLE, latency_ms=1)
        for tenant in range(FIRST_LINES - 1):
            trouble.call_failed(whose(tenant), CALL, UNREACHABLE, latency_ms=1)

    told = Counter(line["tenant_id"] for line in lines)
    assert told.pop("noisy") == 1 + FURTHER_LINES
    assert told == {str(tenant): 1 for tenant in range(FIRST_LINES - 1)}


def test_in_an_outage_of_all_tenants_a_second_has_a_bound_and_the_next_begins_anew(clock: Clock) -> None:
    sample = LogSample(clock=clock)

    def a_second() -> int:
        return sum(sample.lets("call.failed", str(tenant)) for _ in range(3) for tenant in range(1_000))

    assert a_second() == FIRST_LINES + FURTHER_LINES
    assert a_second() == 0
    assert sample.lets("job.dead_letter", "1")  # another event has its own
    clock.now += 1
    assert a_second() == FIRST_LINES + FURTHER_LINES


def test_what_was_not_written_is_told_from_time_to_time_and_at_the_end(clock: Clock) -> None:
    trouble = TroubleLog(LogSample(clock=clock))
    with capture_logs() as lines:
        for _ in range(100):
            trouble.call_failed(whose("a"), CALL, UNREACHABLE, latency_ms=1)
        trouble.tell_suppressed()
        clock.now += TOLD_EVERY_S
        trouble.tell_suppressed()
        trouble.tell_suppressed()
        for _ in range(7):
            trouble.dead_letter(whose("a"), "poison", {})
        trouble.tell_suppressed()
        trouble.tell_suppressed(last=True)

    told = [line for line in lines if line["event"] == "log.suppressed"]
    assert told == [
        {"event": "log.suppressed", "log_level": "warning", "of": "call.failed", "lines": 94, "within_s": TOLD_EVERY_S},
        {"event": "log.suppressed", "log_level": "warning", "of": "job.dead_letter", "lines": 1, "within_s": 0.0},
    ]


def test_a_sample_that_let_everything_through_has_nothing_to_tell(clock: Clock) -> None:
    sample = LogSample(clock=clock)
    assert sample.lets("e", "a")
    assert sample.suppressed(last=True) == []
    assert [sample.lets("e", "a") for _ in range(FURTHER_LINES + 1)][-1] is False
    assert sample.suppressed(last=True) == [Suppressed("e", 1, 0.0)]


def told_by(tell: Any) -> dict[str, Any]:
    with capture_logs() as lines:
        tell(TroubleLog())
    (line,) = lines
    return dict(line)


def test_a_call_that_failed_says_provider_status_and_code_and_quotes_only_ourselves() -> None:
    unreachable = told_by(lambda trouble: trouble.call_failed(whose("t"), CALL, UNREACHABLE, latency_ms=3))
    assert unreachable == whose("t") | {
        "event": "call.failed", "log_level": "warning", "run_id": str(CALL.run_id), "provider": "openai",
        "model": "gpt-6-luna", "code": "provider_unreachable", "http_status": None, "request_id": None,
        "latency_ms": 3, "error": "a:1 refuses connections",
    }  # fmt: skip
    refused = told_by(lambda trouble: trouble.call_failed(whose("t"), CALL, REFUSED, latency_ms=3))
    assert (refused["code"], refused["http_status"], refused["request_id"]) == ("provider_refused", 400, "r1")
    assert "prompt" not in str(refused)


def test_a_fallback_a_dead_letter_and_a_breaker_have_their_lines() -> None:
    primary = Target("anthropic", "claude-haiku-5-5")
    fallback = told_by(lambda t: t.fell_back(whose("t"), CALL, instead_of=primary, why=REFUSED))
    assert (fallback["event"], fallback["provider"], fallback["instead_of"], fallback["code"]) == (
        "call.fallback", "openai", "anthropic:claude-haiku-5-5", "provider_refused",
    )  # fmt: skip
    late = told_by(lambda t: t.fell_back(whose("t"), CALL, instead_of=primary, why=None))
    assert (late["code"], late["http_status"]) == ("deadline_passed", None)

    dead = told_by(lambda t: t.dead_letter(whose("t"), "provider_refused", REFUSED.as_dict(), attempt=2))
    assert (dead["event"], dead["log_level"]) == ("job.dead_letter", "warning")
    assert (dead["provider"], dead["http_status"], dead["code"]) == ("openai", 400, "provider_refused")
    assert "prompt" not in str(dead)

    opened = BreakerChange("openai", None, is_open=True, code="provider_unavailable", reset_s=10.0)
    assert told_by(lambda t: t.breaker_changed(opened)) == {
        "event": "breaker.opened", "log_level": "warning", "provider": "openai", "code": "provider_unavailable",
        "looks_again_in_s": 10.0,
    }  # fmt: skip
    closed = BreakerChange("openai", "t", is_open=False, open_s=12.34)
    assert told_by(lambda t: t.breaker_changed(closed)) == {
        "event": "breaker.closed", "log_level": "info", "provider": "openai", "tenant_id": "t", "open_s": 12.3,
    }  # fmt: skip
