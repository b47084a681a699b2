"""Ids are made by the clock of whoever makes them, and a clock may be wrong: its jobs run all the same, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from console import checkup
from producers import Client
from storage import health, recovery
from storage.database import Database
from storage.ids import new_id
from storage.jobs import State
from tests.books import check_books
from tests.clock import Clock
from tests.fleet import Fleet, Urls
from tests.promises.test_foreign_transactions import ask, foreign
from tests.steps import put_one, take

START = datetime(2034, 5, 20, tzinfo=UTC)


def made_at(at: datetime) -> UUID:
    """An id of that instant."""
    return UUID(int=(int(at.timestamp() * 1000) << 80) | (new_id().int & ((1 << 80) - 1)))


def partition_of(owner: psycopg.Connection[tuple[str]], job_id: UUID) -> str:
    """Where the job's row lies."""
    row = owner.execute("select tableoid::regclass::text from headrace.jobs where id = %s", [job_id]).fetchone()
    assert row is not None
    return row[0]


def test_jobs_of_a_service_whose_clock_is_years_off_run_once(
    client: Client, fleet: Fleet, ops: Database, urls: Urls, tenant: UUID
) -> None:
    fleet.simulator()
    fleet.start("scheduler", "workers.scheduler_boot")
    fleet.worker()
    ids = [made_at(datetime(year, 1, 1, tzinfo=UTC)) for year in (1999, 2099)]
    with foreign(urls) as connection:
        for job_id in (*ids, *ids):  # repeated, as after a lost answer
            assert ask(connection, tenant, job_id=job_id) == job_id
        connection.commit()
    for job_id in ids:
        assert client.result(job_id, tenant_id=tenant, timeout=30).state is State.SUCCEEDED
    with psycopg.connect(urls.owner) as owner:
        assert {partition_of(owner, job_id) for job_id in ids} == {"headrace.jobs_default"}
    assert len(fleet.journal()) == 2
    check_books(ops, fleet.journal())


@pytest.fixture
def clock(urls: Urls) -> Iterator[Clock]:
    """Postgres's time, by hand from now on."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        yield Clock(owner, START)


def test_what_came_too_early_keeps_no_month_from_coming(
    app: Database, ops: Database, urls: Urls, tenant: UUID, clock: Clock
) -> None:
    """A job of the future is in the way of its month's partition: then that month stays in the default one."""
    with app.connection() as connection, ops.connection() as operations:
        assert recovery.ensure_partitions(operations) == 6  # this month and two more, of jobs and of runs
        early = put_one(connection, tenant, id=str(made_at(START + timedelta(days=90))))

        for days, made in ((30, 1), (60, 2), (90, 2)):  # of June, July and August, jobs of the last one is missing
            clock.set(START + timedelta(days=days))
            assert recovery.ensure_partitions(operations) == made
        in_time = put_one(connection, tenant, id=str(made_at(START + timedelta(days=90, hours=1))))
        later = put_one(connection, tenant, id=str(made_at(START + timedelta(days=120))))

        with psycopg.connect(urls.owner) as owner:
            where = [partition_of(owner, job_id) for job_id in (early, in_time, later)]
        assert where == ["headrace.jobs_default", "headrace.jobs_default", "headrace.jobs_2034_09"]
        claimed = [take(connection, tenant, claim_id=new_id(), worker_id=new_id()) for _ in range(4)]
        assert {job.job_id for job in claimed if job} == {early, in_time, later}


def test_a_machine_that_disagrees_with_postgres_is_told_so(ops: Database) -> None:
    with ops.connection() as connection:
        facts = health.server(connection)
    assert checkup._clock(facts).verdict == "ok"
    for seconds in (-60, 60):
        finding = checkup._clock(replace(facts, clock=facts.clock + timedelta(seconds=seconds)))
        assert finding.verdict == "wrong"
        assert finding.to_do is not None and "NTP" in finding.to_do
