"""Two hundred small questions of five tenants, for tests of what happens to the wire meanwhile."""

from __future__ import annotations

from uuid import UUID

from storage.db.database import Database
from tests.conftest import new_tenant
from tests.support.fleet import Fleet

JOBS = 200


def request(tenant: UUID, i: int, **more: object) -> dict[str, object]:
    return {
        "tenant_id": tenant,
        "user_id": f"u-{i % 3}",
        "feature": "chat",
        "prompt": "chat",
        "variables": {"message": f"What is {i} times {i + 1}?"},
        "max_output_tokens": 100,
        "lane": "batch" if i % 5 == 0 else "interactive",
        **more,
    }


def staff(fleet: Fleet, ops: Database) -> list[UUID]:
    """A scheduler, two workers of four threads and providers of 100 ms; the five tenants."""
    fleet.simulator(openai={"latency_ms": 100}, anthropic={"latency_ms": 100})
    fleet.start("scheduler", "console.processes.scheduler")
    for name in ("worker-1", "worker-2"):
        fleet.worker(name, threads=4)
    return [new_tenant(ops, f"T{i}") for i in range(5)]


def ended(ops: Database) -> int:
    """How many jobs have ended."""
    (row,) = ops.retry_until_answered(
        lambda connection: connection.execute(
            "select count(*)::integer as n from headrace.jobs where outcome is not null"
        ).fetchall()
    )
    return int(row["n"])


def all_ended_well(fleet: Fleet, ops: Database) -> None:
    """Each of them, the late one too, has succeeded, and every process lives and drains."""
    with ops.connection() as connection:
        rows = connection.execute("select outcome, count(*)::integer as n from headrace.jobs group by 1").fetchall()
    assert {row["outcome"]: row["n"] for row in rows} == {"succeeded": JOBS + 1}
    names = ("worker-1", "worker-2", "scheduler")
    for name in names:
        assert fleet.processes[name].poll() is None, fleet.log(name)
    assert [fleet.end(name) for name in names] == [0, 0, 0]
