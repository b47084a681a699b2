"""What is settled where a settle failed for what it carries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from errors import ResultNotStorableError
from workers.call_report import CallReport
from workers.outcomes import Ended, HandBack, NextCall
from workers.settling import bare, unknown, with_less

REPORT = CallReport(
    run_id=uuid4(), status="succeeded", input_tokens=10, cached_input_tokens=5, cache_write_tokens=0, output_tokens=20,
    reasoning_tokens=0, http_status=200, provider_request_id="r", latency_ms=5,
)  # fmt: skip


def test_a_report_is_settled_with_all_that_is_known() -> None:
    assert replace(REPORT, charged_tokens=30).as_settled() == {
        "id": str(REPORT.run_id), "status": "succeeded", "input_tokens": 10, "cached_input_tokens": 5,
        "cache_write_tokens": 0, "output_tokens": 20, "reasoning_tokens": 0, "http_status": 200,
        "provider_request_id": "r", "latency_ms": 5,
    }  # fmt: skip


def test_the_bare_report_keeps_its_true_usage() -> None:
    kept = bare(REPORT)
    assert kept == replace(REPORT, http_status=None, provider_request_id=None, latency_ms=None)


def test_it_keeps_what_its_service_tier_costs() -> None:
    kept = bare(replace(REPORT, service_tier="priority", priced_as="reserved", error_code="tier_unpriced"))
    of_standard_tier = bare(REPORT)
    assert of_standard_tier is not None
    assert kept == replace(of_standard_tier, priced_as="reserved")


@pytest.mark.parametrize("count", [-1, 10**12, 1.5, None, "7", [1]])
def test_a_usage_that_is_not_sound_is_unknown(count: Any) -> None:
    assert bare(replace(REPORT, output_tokens=count)) == unknown(REPORT)
    without_reasoning = bare(replace(REPORT, reasoning_tokens=count))
    assert without_reasoning is not None
    assert (without_reasoning.status, without_reasoning.reasoning_tokens) == ("succeeded", None)


def test_a_call_that_failed_stays_so_and_costs_nothing() -> None:
    failed = CallReport(run_id=REPORT.run_id, status="failed", error_code="provider_refused", http_status=10**9)
    assert bare(failed) == replace(failed, http_status=None)


def test_less_is_tried_each_time_and_the_job_says_why() -> None:
    first, last = with_less(REPORT, HandBack(), ValueError("a patient's name"))
    assert first[0] == bare(REPORT)
    assert last[0] == unknown(REPORT)
    for _, outcome in (first, last):
        assert isinstance(outcome, Ended)
        assert (outcome.outcome, outcome.reason) == ("failed", "result_not_storable")
        assert "patient" not in str(outcome.error)


def test_where_another_call_follows_the_job_goes_on_with_the_bare_report_first() -> None:
    ways = with_less(REPORT, NextCall(), ResultNotStorableError("too deep"))
    assert ways[0] == (bare(REPORT), NextCall())
    assert [isinstance(outcome, Ended) for _, outcome in ways[1:]] == [True, True]


def test_an_outcome_without_a_call_is_settled_without_one() -> None:
    assert {report is None for report, _ in with_less(None, HandBack(), ValueError())} == {True}
