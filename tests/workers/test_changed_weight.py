"""A changed weight deals the backlog that is there by the new share, from the next turn on: real turns, real claims."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from uuid import UUID

from queues.turns import Wire
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.ids import new_id
from tests.conftest import new_tenant
from tests.support import transactions
from workers.turn_account import TurnAccount

TURNS = 60
TOKENS = 100


def dealt(app: Database, wire: Wire, n: int) -> Counter[UUID]:
    """Take so many turns and claim and end a job by each, as a worker does; how many each tenant got."""
    account = TurnAccount(wire, turns_per_tenant=64)
    got: Counter[UUID] = Counter()
    for _ in range(n):
        (turn,) = wire.take("interactive", 1)
        tenant, claim = UUID(turn.tenant), new_id()
        with app.as_tenant(tenant) as connection, connection.transaction():
            job = transactions.claim_job(connection, tenant, claim_id=claim, worker_id=new_id())
            assert job is not None
            charged = account.claimed(turn, job)
            transactions.settle_job(
                connection, tenant, job.job_id, claim, None, "ended", outcome="rejected", reason="too_long"
            )
            account.settled(turn, job, TOKENS, cpu_s=0.0, charged=charged, queued=False)
        got[tenant] += 1
    return got


def test_a_changed_weight_acts_on_the_backlog_at_once(app: Database, ops: Database, wiped_wire: Wire) -> None:
    heavy, light = new_tenant(ops, "Heavy"), new_tenant(ops, "Light")
    for tenant in (heavy, light):
        with app.as_tenant(tenant) as connection, connection.transaction():
            transactions.enqueue_jobs(
                connection, tenant, *(transactions.request(estimated_tokens=TOKENS) for _ in range(4 * TURNS))
            )
        wiped_wire.refill("interactive", {str(tenant): 64})

    equal = dealt(app, wiped_wire, TURNS)
    with ops.connection() as connection:
        tenants.set_weight(connection, heavy, Decimal(10), actor="a test")  # five times the plan's 2
    for tenant in (heavy, light):
        wiped_wire.refill("interactive", {str(tenant): 64})
    after = dealt(app, wiped_wire, TURNS)
    with ops.connection() as connection:
        tenants.set_weight(connection, heavy, None, actor="a test")
    for tenant in (heavy, light):
        wiped_wire.refill("interactive", {str(tenant): 64})
    back = dealt(app, wiped_wire, TURNS)

    assert abs(equal[heavy] - equal[light]) <= 2
    assert abs(after[heavy] - 5 * after[light]) <= 10, "50 to 10, give or take two jobs of the light one"
    assert abs(back[heavy] - back[light]) <= 6, "what it had been charged at the old weight is all that lingers"
