"""A tenant whose caps are partly spent, drawn by dice."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from storage.db.database import Database
from tests.support.transactions import enqueue_job

START = datetime(2030, 5, 17, 10, 20, tzinfo=UTC)


def usd(dice: random.Random, most: float) -> Decimal:
    return Decimal(dice.randrange(0, round(most * 10**9))) / 10**9


def stand(ops: Database, tenant: UUID, dice: random.Random) -> None:
    """Some caps with some spent in some hours, some reserved, and some jobs that wait for room under them."""
    with ops.connection() as connection:
        for scope, key in (("tenant", ""), ("user", "u-1"), ("feature", "chat")):
            if dice.random() < 0.35:
                continue
            spent = usd(dice, 0.004) if dice.random() < 0.7 else Decimal(0)
            connection.execute(
                "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour, spent_usd, reserved_usd)"
                " values (%s, %s, %s, %s, %s, %s, %s)",
                [tenant, scope, key, usd(dice, 0.02), START.replace(minute=0), spent,
                 usd(dice, 0.004) if dice.random() < 0.6 else Decimal(0)],
            )  # fmt: skip
            connection.execute(
                "insert into headrace.spend_buckets values (%s, %s, %s, %s, %s)",
                [tenant, scope, key, START.replace(minute=0) - timedelta(hours=dice.randrange(24)), spent],
            )
            if dice.random() < 0.2:
                job_id = enqueue_job(connection, tenant, user_id="u-2", lane=dice.choice(["interactive", "batch"]))
                connection.execute(
                    "update headrace.queue set state = 'scheduled', reason = 'waiting_for_room', run_at = %s,"
                    " rank = %s, waits_for = %s where id = %s",
                    [START, dice.choice([0, 1, 2]), f"room:{scope}:{key}", job_id],
                )
