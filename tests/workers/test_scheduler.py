"""What a scheduler must not do to the others, and what it must not make of an outage."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from uuid import UUID

import psycopg

from queues.redis.wire import RedisWire
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import chores, health, recovery, workers
from tests.support.closable_socket import Gate
from tests.support.fleet import Urls, eventually
from tests.support.transactions import claim_job, enqueue_job
from workers.heartbeat import Heartbeat
from workers.scheduler import Scheduler

LANES = Settings().lane_weights


def scheduler_of(database: Database, wire: RedisWire, *, silent_s: float) -> Scheduler:
    return Scheduler(
        database=database, wire=wire, worker_silent_s=silent_s, max_deaths=3, turns_per_tenant=64, idempotency_days=30
    )


class OtherSweeper(RedisWire):
    """A wire during whose every refill another scheduler sweeps."""

    def __init__(self, urls: Urls, other: Database) -> None:
        super().__init__(urls.redis, lanes=LANES)
        self.found: list[recovery.Turns] = []
        self._other = other

    def refill(self, lane: str, turns: Mapping[str, int], starving: Collection[str] = ()) -> int:
        with self._other.connection() as connection:
            self.found.append(recovery.turns_wanted(connection, turns_per_tenant=64))
        return super().refill(lane, turns, starving)


def test_whoever_tells_the_wire_keeps_nobody_from_sweeping(
    urls: Urls, app: Database, ops: Database, tenant: UUID
) -> None:
    with app.connection() as connection:
        enqueue_job(connection, tenant)
    wire = OtherSweeper(urls, ops)

    scheduler_of(ops, wire, silent_s=2).sweep()

    wire.close()
    assert wire.found == [{"interactive": {tenant: 1}}]


def test_one_sweeper_at_a_time_asks(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    with app.connection() as connection:
        enqueue_job(connection, tenant)
    with psycopg.connect(urls.ops) as another, ops.connection() as connection:
        another.execute("select headrace.wait_for_chore('sweep')")
        assert recovery.turns_wanted(connection, turns_per_tenant=64) == {}
        another.rollback()
        assert recovery.turns_wanted(connection, turns_per_tenant=64) == {"interactive": {tenant: 1}}


def test_an_outage_of_postgres_is_no_worker_s_death(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    """Longer than the silence limit. The job of a worker that is really gone is reclaimed, the other one is not."""
    silent_s = 3.0
    living, gone = new_id(), new_id()
    with app.connection() as connection:
        jobs = {worker: enqueue_job(connection, tenant) for worker in (living, gone)}
        held = {worker: claim_job(connection, tenant, claim_id=new_id(), worker_id=worker) for worker in (living, gone)}
        assert {worker: job.job_id for worker, job in held.items() if job} == jobs
    with ops.connection() as connection:
        workers.heartbeat(connection, gone, host="here", pid=1, threads=1)

    stopping = threading.Event()
    wire = RedisWire(urls.redis, lanes=LANES)
    with Gate(urls.ops) as gate, Database(gate.url, connections=1) as its, Database(gate.url, connections=6) as mine:
        heart = Heartbeat(its, living, every_s=0.2, silent_s=silent_s, threads=1)
        heart.start()
        thread = threading.Thread(target=scheduler_of(mine, wire, silent_s=silent_s).run, args=[stopping])
        thread.start()
        try:
            gate.shut()
            eventually(lambda: not alive(ops, silent_s), why="no heart was heard for longer than the limit")
            gate.open()
            eventually(lambda: reclaimed(ops), why="the lost worker's job is reclaimed")
        finally:
            stopping.set()
            gate.open()
            thread.join()
            heart.stop()
            wire.close()

    assert reclaimed(ops) == [jobs[gone]]


class WireThatBreaks(RedisWire):
    """The wire, whose refill meets a bug."""

    def refill(self, lane: str, turns: Mapping[str, int], starving: Collection[str] = ()) -> int:
        raise ValueError("nobody foresaw this")


def test_a_chore_that_raises_ends_neither_the_scheduler_nor_its_neighbours(
    urls: Urls, app: Database, ops: Database, tenant: UUID
) -> None:
    with app.connection() as connection:
        enqueue_job(connection, tenant)  # so that the sweep has something to tell the wire
    wire, stopping = WireThatBreaks(urls.redis, lanes=LANES), threading.Event()
    thread = threading.Thread(target=scheduler_of(ops, wire, silent_s=2).run, args=[stopping])
    thread.start()
    try:
        eventually(lambda: failures(ops).get("sweep", 0) >= 2, why="the sweep fails again and again")
        with ops.connection() as connection:
            assert health.scheduler_answers(connection, within_s=10), "the notes are taken all the same"
        assert failures(ops).keys() == {"sweep"}
        assert thread.is_alive()
    finally:
        stopping.set()
        thread.join()
        wire.close()


def test_a_chore_that_waits_for_a_lock_is_cut_off_and_others_go_on(urls: Urls, ops: Database) -> None:
    """A table that bursts need is locked; the notes, which do not need it, are taken meanwhile."""
    wire, stopping = RedisWire(urls.redis, lanes=LANES), threading.Event()
    thread = threading.Thread(target=scheduler_of(ops, wire, silent_s=2).run, args=[stopping])
    with psycopg.connect(urls.owner) as another:
        another.execute("lock table headrace.concurrency in access exclusive mode")  # bursts read it
        thread.start()
        try:
            eventually(lambda: failures(ops).get("lend", 0) >= 1, why="the chore is cut off")
            with ops.connection() as connection:
                assert health.scheduler_answers(connection, within_s=10)
            assert not failures(ops).keys() & {"wakes", "due", "reclaim", "expire"}
        finally:
            stopping.set()
            thread.join()
            wire.close()


def failures(ops: Database) -> dict[str, int]:
    """How often each chore has failed, of those that have."""
    with ops.connection() as connection:
        return {one.name: one.failures for one in chores.list_chores(connection) if one.failures}


def alive(ops: Database, silent_s: float) -> list[object]:
    with ops.connection() as connection:
        return list(workers.alive(connection, silent_s))


def reclaimed(ops: Database) -> list[UUID]:
    with ops.connection() as connection:
        rows = connection.execute("select job_id from headrace.job_events where event = 'reclaimed'").fetchall()
    return [row["job_id"] for row in rows]
