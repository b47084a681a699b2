"""What is settled where a settle failed for what it carries: what a provider or a tenant said cannot stop the books.

Pure: no database, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from errors import ResultNotStorableError
from workers.outcomes import Ended, Outcome

MOST_TOKENS: Final = 500_000_000
"""``headrace.figure`` lets no more into ``runs``."""
_NEEDED = ("input_tokens", "output_tokens")
_TOKENS = (*_NEEDED, "cached_input_tokens", "cache_write_tokens", "reasoning_tokens")


def with_less(
    run: Mapping[str, Any] | None, outcome: Outcome | None, failure: Exception
) -> list[tuple[Mapping[str, Any] | None, Outcome | None]]:
    """Runs and outcomes to try in turn where a settle failed for what it carries, until one of them is settled.

    First the bare run. The job has failed then, and says why; only where another call follows (``outcome`` None) it
    goes on. Last, the run is *unknown*.
    """
    failed = _failed(failure)
    going_on: list[tuple[Mapping[str, Any] | None, Outcome | None]] = [(bare(run), None)] if outcome is None else []
    return [*going_on, (bare(run), failed), (unknown(run), failed)]


def bare(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The run with its status and its tokens, as far as they are sound; *unknown* where they are not."""
    if run is None:
        return None
    tokens: dict[str, Any] = {name: count for name in _TOKENS if (count := _sound(run.get(name))) is not None}
    if run.get("priced_as") is not None:  # never for less than its service tier costs
        tokens |= {"priced_as": run["priced_as"]}
    if run["status"] != "succeeded":  # a failed answer may have a usage too
        return {name: run[name] for name in ("id", "status", "error_code") if name in run} | tokens
    if not all(name in tokens for name in _NEEDED):
        return unknown(run)
    return {"id": run["id"], "status": "succeeded", **tokens}


def unknown(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The run as one of which nothing is known: it is charged what was reserved."""
    return None if run is None else {"id": run["id"], "status": "unknown", "error_code": ResultNotStorableError.code}


def _sound(count: object) -> int | None:
    return count if isinstance(count, int) and 0 <= count <= MOST_TOKENS else None


def _failed(error: Exception) -> Ended:
    # what Postgres says of a value may quote it
    why = str(error) if isinstance(error, ResultNotStorableError) else f"Postgres refused it ({type(error).__name__})"
    return Ended("failed", ResultNotStorableError.code, ResultNotStorableError(why).as_dict())
