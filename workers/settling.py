"""What is settled where a settle failed for what it carries: what a provider or a tenant said cannot stop the books.

Pure: no database, no clock.
"""

from __future__ import annotations

from typing import Any, Final

from errors import ResultNotStorableError
from workers.call_report import CallReport
from workers.outcomes import Ended, NextCall, Outcome

MOST_TOKENS: Final = 500_000_000
"""``headrace.figure`` lets no more into ``runs``."""
_NEEDED = ("input_tokens", "output_tokens")
_TOKENS = (*_NEEDED, "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


def with_less(
    report: CallReport | None, outcome: Outcome | NextCall, failure: Exception
) -> list[tuple[CallReport | None, Outcome | NextCall]]:
    """Reports and outcomes to try in turn where a settle failed for what it carries, until one of them is settled.

    First the bare report. The job has failed then, and says why; only where another call follows, it goes on. Last,
    the call is *unknown*.
    """
    failed = _failed(failure)
    going_on: list[tuple[CallReport | None, Outcome | NextCall]] = []
    if isinstance(outcome, NextCall):
        going_on = [(bare(report), outcome)]
    return [*going_on, (bare(report), failed), (unknown(report), failed)]


def bare(report: CallReport | None) -> CallReport | None:
    """The call with its status and its tokens, as far as they are sound; *unknown* where they are not."""
    if report is None:
        return None
    tokens: dict[str, Any] = {name: _sound(getattr(report, name)) for name in _TOKENS}
    tokens["priced_as"] = report.priced_as  # never for less than its service tier costs
    if report.status != "succeeded":  # a failed answer may have a usage too
        return CallReport(run_id=report.run_id, status=report.status, error_code=report.error_code, **tokens)
    if any(tokens[name] is None for name in _NEEDED):
        return unknown(report)
    return CallReport(run_id=report.run_id, status="succeeded", **tokens)


def unknown(report: CallReport | None) -> CallReport | None:
    """The call as one of which nothing is known: it is charged what was reserved."""
    if report is None:
        return None
    return CallReport(run_id=report.run_id, status="unknown", error_code=ResultNotStorableError.code)


def _sound(count: object) -> int | None:
    return count if isinstance(count, int) and 0 <= count <= MOST_TOKENS else None


def _failed(error: Exception) -> Ended:
    # what Postgres says of a value may quote it
    why = str(error) if isinstance(error, ResultNotStorableError) else f"Postgres refused it ({type(error).__name__})"
    return Ended("failed", ResultNotStorableError.code, ResultNotStorableError(why).as_dict())
