"""The four transactions as a test makes them by hand: one at a time, with no wire and no worker process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from storage.db.connect import Connection
from storage.db.ids import new_id
from storage.fleet import recovery
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Enqueued, Stopped
from storage.money import runs
from storage.money.runs import Grant, PlannedCall

CHEAP = ("openai", "gpt-6-luna")
CLAIM_S = 60.0


def request(**fields: Any) -> dict[str, Any]:
    """One job as ``headrace.enqueue_batch`` takes it."""
    return {
        "id": str(new_id()),
        "user_id": "u-1",
        "feature": "chat",
        "messages": [{"role": "user", "content": "Hello"}],
        "estimated_tokens": 100,
        **fields,
    }


def enqueue_jobs(connection: Connection, tenant: UUID, *requests: dict[str, Any]) -> list[Enqueued]:
    """enqueue"""
    return jobs.enqueue_batch(connection, tenant, list(requests), wake=False)


def enqueue_job(connection: Connection, tenant: UUID, **fields: Any) -> UUID:
    """enqueue one that is let in; its id."""
    (one,) = enqueue_jobs(connection, tenant, request(**fields))
    assert one.job_id is not None, one.error
    return one.job_id


def claim_job(
    connection: Connection,
    tenant: UUID,
    *,
    claim_id: UUID,
    worker_id: UUID,
    lane: str = "interactive",
    timeout_s: float = CLAIM_S,
    repeat: bool = False,
) -> ClaimedJob | None:
    """claim"""
    got = jobs.claim(
        connection, tenant, lane, claim_id=claim_id, worker_id=worker_id, timeout_s=timeout_s, turns_per_tenant=64,
        repeat=repeat,
    )  # fmt: skip
    return None if isinstance(got, Stopped) else got


def planned_call(**fields: Any) -> PlannedCall:
    """One call that is about to be made."""
    facts: dict[str, Any] = {
        "run_id": new_id(), "kind": "answer", "provider": CHEAP[0], "model": CHEAP[1], "tier": "cheap",
        "route_rule": "default", "fallback": False, "input_bound": 1000, "max_output_tokens": 1000,
        "min_output_tokens": None, "prompt_id": None,
    }  # fmt: skip
    return PlannedCall(**{**facts, **fields})


def begin_call(
    connection: Connection,
    tenant: UUID,
    job_id: UUID,
    claim_id: UUID,
    planned: PlannedCall,
    later: Sequence[PlannedCall] = (),
) -> Grant:
    """begin"""
    return runs.begin(connection, tenant, job_id, claim_id, planned, later)


def settle_job(
    connection: Connection,
    tenant: UUID,
    job_id: UUID,
    claim_id: UUID,
    run: dict[str, Any] | None,
    verdict: str,
    **outcome: Any,
) -> str:
    """settle"""
    return jobs.settle(connection, tenant, job_id, claim_id, run=run, verdict=verdict, outcome=outcome).state


def answered_run(run_id: UUID, input_tokens: int = 10, output_tokens: int = 20) -> dict[str, Any]:
    """The books of a call that was answered."""
    return {
        "id": str(run_id), "status": "succeeded", "input_tokens": input_tokens, "cached_input_tokens": 0,
        "cache_write_tokens": 0, "output_tokens": output_tokens, "reasoning_tokens": 0, "http_status": 200,
        "latency_ms": 5,
    }  # fmt: skip


def refused_run(run_id: UUID) -> dict[str, Any]:
    """The books of a call that the provider refused: it cost nothing."""
    return {"id": str(run_id), "status": "failed", "error_code": "provider_unavailable", "http_status": 500}


def unknown_run(run_id: UUID) -> dict[str, Any]:
    """The books of a call whose answer was lost."""
    return {"id": str(run_id), "status": "unknown", "error_code": "provider_timeout"}


def succeeded_outcome(run_id: UUID) -> dict[str, Any]:
    """The outcome of a job that was answered by this run."""
    return {
        "outcome": "succeeded", "run_id": str(run_id), "output": "Hi", "finish": "complete", "max_output_tokens": 1000,
    }  # fmt: skip


def all_waiting_tenants(connection: Connection) -> dict[UUID, None]:
    """Every tenant whose jobs wait for room, each to begin with its first list: whose turn it is at the chores."""
    return dict.fromkeys(recovery.waiting_tenants(connection, after=UUID(int=0), limit=10_000).tenants)
