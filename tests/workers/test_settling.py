"""What is settled where a settle failed for what it carries."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from errors import ResultNotStorableError
from workers.outcomes import Ended, HandBack
from workers.settling import bare, unknown, with_less

RUN: dict[str, Any] = {
    "id": str(uuid4()), "status": "succeeded", "input_tokens": 10, "cached_input_tokens": 5, "cache_write_tokens": 0,
    "output_tokens": 20, "reasoning_tokens": 0, "http_status": 200, "provider_request_id": "r", "latency_ms": 5,
}  # fmt: skip


def test_the_bare_run_keeps_its_true_usage() -> None:
    kept = bare(RUN)
    assert kept is not None
    assert {name: RUN[name] for name in kept} == kept
    assert set(RUN) - set(kept) == {"http_status", "provider_request_id", "latency_ms"}


def test_it_keeps_what_its_service_tier_costs() -> None:
    kept = bare(RUN | {"service_tier": "priority", "priced_as": "reserved", "error_code": "tier_unpriced"})
    assert kept == bare(RUN) | {"priced_as": "reserved"}  # type: ignore[operator]


@pytest.mark.parametrize("count", [-1, 10**12, 1.5, None, "7", [1]])
def test_a_usage_that_is_not_sound_is_unknown(count: object) -> None:
    assert bare(RUN | {"output_tokens": count}) == unknown(RUN)
    assert "reasoning_tokens" not in (bare(RUN | {"reasoning_tokens": count}) or {})


def test_a_call_that_failed_stays_so_and_costs_nothing() -> None:
    failed = {"id": RUN["id"], "status": "failed", "error_code": "provider_refused", "http_status": 10**9}
    assert bare(failed) == {"id": RUN["id"], "status": "failed", "error_code": "provider_refused"}


def test_less_is_tried_each_time_and_the_job_says_why() -> None:
    first, last = with_less(RUN, HandBack(), ValueError("a patient's name"))
    assert first[0] == bare(RUN)
    assert last[0] == unknown(RUN)
    for _, outcome in (first, last):
        assert isinstance(outcome, Ended)
        assert (outcome.outcome, outcome.reason) == ("failed", "result_not_storable")
        assert "patient" not in str(outcome.error)


def test_where_another_call_follows_the_job_goes_on_with_the_bare_run_first() -> None:
    ways = with_less(RUN, None, ResultNotStorableError("too deep"))
    assert ways[0] == (bare(RUN), None)
    assert [isinstance(outcome, Ended) for _, outcome in ways[1:]] == [True, True]


def test_a_verdict_without_a_call_is_settled_without_one() -> None:
    assert {run is None for run, _ in with_less(None, HandBack(), ValueError())} == {True}
