"""What begin + settle cost Postgres, by how many runs there are; beside it the usual check: sum the last day's runs.

Every run belongs to the one tenant and user that are measured, and began within the last day: the worst case. Server
time of the functions alone (no flush, no client), median of five turns.

python -m benchmarks.check_cost            up to a million runs
python -m benchmarks.check_cost 10000000   up to ten million (some 8 GB of disk and some minutes)
"""

from __future__ import annotations

import statistics
import sys
import time
from uuid import UUID

import psycopg

from benchmarks.hot_tenant import books, call, claimed
from benchmarks.rig import Rig, rig
from storage.db.database import Database
from storage.fleet import recovery
from storage.jobs import jobs
from storage.money import runs

PAIRS, TURNS, STEP = 200, 5, 1_000_000
FILL = """
    insert into headrace.runs (id, tenant_id, job_id, claim_id, attempt, user_id, feature, kind, tier, route_rule,
                               provider, model, price_id, max_output_tokens, input_tokens, cached_input_tokens,
                               cache_write_tokens, output_tokens, reasoning_tokens, reserved_usd, cost_usd, status,
                               http_status, latency_ms, created_at, settled_at)
    select overlay(gen_random_uuid()::text placing left(headrace.uuid_at(t.at)::text, 13) from 1)::uuid, %(tenant)s,
           gen_random_uuid(), gen_random_uuid(), 1, 'u', 'chat', 'answer', 'cheap', 'default', 'openai', 'gpt-6-luna',
           (select max(id) from headrace.model_prices where model = 'gpt-6-luna'), 500, 200, 0, 0, 100, 0, 0.0003,
           0.00007, 'succeeded', 200, 5, t.at, t.at
    from (select now() - random() * interval '20 hours' as at from generate_series(1, %(n)s)) t
    order by t.at  -- as runs come in: an index page is filled before the next one"""
USUAL = (
    "select sum(cost_usd) from headrace.runs where tenant_id = %s and created_at > headrace.now() - interval '24 hours'"
)


def filled(owner: psycopg.Connection[tuple[object, ...]], tenant: UUID, there: int, wanted: int) -> None:
    while there < wanted:
        n = min(STEP, wanted - there)
        owner.execute(FILL, {"tenant": tenant, "n": n})
        there += n
    owner.execute("vacuum analyze headrace.runs")
    owner.execute("checkpoint")  # what was poured in is not written out by who is measured


def measured(bench: Rig, database: Database, owner: psycopg.Connection[tuple[object, ...]], tenant: UUID) -> float:
    """Server time of a begin and its settle, ms."""
    turns = []
    for _ in range(TURNS):
        claims = claimed(database, tenant, PAIRS)
        owner.execute("select pg_stat_reset()")
        with database.connection() as connection:
            for job_id, claim_id in claims:
                planned = call()
                run, outcome = books(planned)
                assert runs.begin(connection, tenant, job_id, claim_id, planned).verdict == "granted"
                jobs.settle(connection, tenant, job_id, claim_id, run=run, verdict="ended", outcome=outcome)
            connection.execute("select pg_stat_force_next_flush()")
        time.sleep(0.2)
        row = owner.execute(
            "select sum(total_time) / nullif(max(calls), 0) from pg_stat_user_functions"
            " where schemaname = 'headrace' and funcname in ('begin', 'settle')"
        ).fetchone()
        assert row is not None
        turns.append(float(str(row[0])))
    return statistics.median(turns)


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000) if size <= most]
    with rig(scheduler=False, track_functions=True) as bench:
        tenant = bench.tenant()
        with (
            Database(bench.endpoints.database_url, connections=1) as database,
            psycopg.connect(bench.endpoints.require_owner(), autocommit=True) as owner,
        ):
            owner.execute("update headrace.tenants set daily_cost_cap_usd = 1000000 where id = %s", [tenant])
            owner.execute("update headrace.plans set user_share = 1")
            there, first = 0, 0.0
            for size in sizes:
                filled(owner, tenant, there, size)
                there = size
                with bench.ops.connection() as connection:
                    recovery.analyze_grown(connection)
                ms = measured(bench, database, owner, tenant)
                first = first or ms
                started = time.perf_counter()
                with database.as_tenant(tenant) as connection:
                    connection.execute(USUAL, [tenant]).fetchone()
                usual = (time.perf_counter() - started) * 1000
                print(
                    f"{size:>10,} runs: begin + settle {ms:.3f} ms, {ms / first:.2f} times the first;"
                    f" the usual sum alone {usual:,.1f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
