"""From `headrace resume` to the first claim: how long what was paused goes on waiting.

A tenant with a few jobs is paused and resumed again and again over an idle worker, its turns used up in between;
measured from the audit row's instant to the first claim, both by Postgres's clock. Once as the command does it, which
offers the turns, and once by SQL alone, where the sweep has to find the backlog.

python -m benchmarks.resume
"""

from __future__ import annotations

import statistics
import time
from uuid import UUID

from benchmarks.rig import Rig, rig
from console import pausing
from queues.broker_url import open_wire
from queues.turns import Wire
from storage.fleet.pauses import PausableKind

ROUNDS, JOBS = 15, 5


def first_claim_ms(bench: Rig, wire: Wire, tenant: UUID, *, by_command: bool) -> float:
    """One round: pause, enqueue, resume, wait; ms from the resume to the first claim."""
    with bench.ops.connection() as connection:
        connection.execute("update headrace.tenants set paused_at = headrace.now() where id = %s", [tenant])
    batch = bench.client.enqueue_many(
        {"tenant_id": tenant, "user_id": "u", "feature": "chat", "max_output_tokens": 50,
         "messages": [{"role": "user", "content": "What is six times seven?"}]}
        for _ in range(JOBS)
    )  # fmt: skip
    while wire.outstanding("interactive"):  # the turns that were offered find nothing, as in any pause
        time.sleep(0.01)
    if by_command:
        pausing.resume(bench.settings, bench.endpoints, PausableKind.TENANT, str(tenant))
        (row,) = bench.query("select max(at) as at from headrace.audit where action = 'resume'")
    else:
        (row,) = bench.query(
            f"update headrace.tenants set paused_at = null where id = '{tenant}' returning headrace.now() as at"
        )
    bench.wait(tenant, 0)
    (first,) = bench.query(f"select min(first_claimed_at) as at from headrace.jobs where id >= '{batch.job_ids[0]}'")
    return float((first["at"] - row["at"]).total_seconds() * 1000)


def main() -> None:
    with rig() as bench:
        tenant = bench.tenant()
        wire = open_wire(bench.endpoints.broker_url, lanes=bench.settings.lane_weights)
        bench.worker(threads=8)
        first_claim_ms(bench, wire, tenant, by_command=True)
        for name, by_command in (("the command", True), ("SQL alone, found by the sweep", False)):
            waits = [first_claim_ms(bench, wire, tenant, by_command=by_command) for _ in range(ROUNDS)]
            print(f"resume by {name}: median {statistics.median(waits):.1f} ms, longest {max(waits):.1f} ms")
        wire.close()


if __name__ == "__main__":
    main()
