"""Ids are made by the clock of their maker, and a clock may be wrong: its jobs run all the same, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from console.doctor import servers
from producers import Client
from storage.db.database import Database
from storage.fleet import health
from storage.jobs.jobs import State
from tests.support.audit import check_books
from tests.support.fleet import Fleet, Urls
from tests.support.foreign_transaction import ask, foreign
from tests.support.made_ids import made_at


def partition_of(owner: psycopg.Connection[tuple[str]], job_id: UUID) -> str:
    """Where the job's row lies."""
    row = owner.execute("select tableoid::regclass::text from headrace.jobs where id = %s", [job_id]).fetchone()
    assert row is not None
    return row[0]


def test_jobs_of_a_service_whose_clock_is_years_behind_run_once_and_none_comes_from_the_future(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID
) -> None:
    fleet.simulator()
    fleet.start("scheduler", "console.processes.scheduler")
    fleet.worker()
    ids = [made_at(datetime(year, 1, 1, tzinfo=UTC)) for year in (1999, 2020)]
    with foreign(urls) as connection:
        with pytest.raises(psycopg.Error, match="id: needs a new UUIDv7"):
            ask(connection, tenant, job_id=made_at(datetime(2099, 1, 1, tzinfo=UTC)))
        connection.rollback()
        for job_id in (*ids, *ids):  # repeated, as after a lost answer
            assert ask(connection, tenant, job_id=job_id) == job_id
        connection.commit()
    for job_id in ids:
        assert client.result(job_id, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
    with psycopg.connect(urls.owner) as owner:
        assert {partition_of(owner, job_id) for job_id in ids} == {"headrace.jobs_default"}
    assert len(fleet.journal()) == 2
    check_books(ops, fleet.journal())


def test_a_machine_that_disagrees_with_postgres_is_told_so(ops: Database) -> None:
    with ops.connection() as connection:
        facts = health.server(connection)
    assert servers.clock(facts).verdict == "ok"
    for seconds in (-60, 60):
        finding = servers.clock(replace(facts, clock=facts.clock + timedelta(seconds=seconds)))
        assert finding.verdict == "wrong"
        assert finding.to_do is not None and "NTP" in finding.to_do
