"""No more run at once than a concurrency cap allows, whatever happens; what frees a slot lets the next one in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from storage.db.connect import Connection, connect
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import audit, recovery, workers
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Settled, Stopped
from storage.money import limits
from storage.money.limits import SlotScope
from tests.conftest import new_tenant
from tests.support.fleet import Urls, eventually
from tests.support.transactions import all_waiting_tenants, enqueue_jobs, request

FAILED = {"outcome": "failed", "reason": "x", "error": {}}
LANE, FEATURE = SlotScope.LANE, SlotScope.FEATURE


def cap(ops: Database, tenant: UUID | None, scope: SlotScope, key: str, slots: int | None) -> None:
    with ops.connection() as connection:
        limits.set_concurrency(connection, tenant, scope, key, slots, actor="a test")


def some(app: Database, tenant: UUID, n: int, **fields: Any) -> list[UUID]:
    """Enqueue ``n`` jobs."""
    with app.connection() as connection:
        done = enqueue_jobs(connection, tenant, *(request(**fields) for _ in range(n)))
    return [one.job_id for one in done if one.job_id is not None]


def claim(
    app: Database, tenant: UUID, lane: str = "interactive", *, claim_id: UUID | None = None, repeat: bool = False
) -> tuple[UUID, ClaimedJob] | Stopped | None:
    claim_id = claim_id or new_id()
    with app.connection() as connection:
        got = jobs.claim(
            connection, tenant, lane, claim_id=claim_id, worker_id=WORKER, timeout_s=600, turns_per_tenant=64,
            repeat=repeat,
        )  # fmt: skip
    return (claim_id, got) if isinstance(got, ClaimedJob) else got


def claimed(app: Database, tenant: UUID, lane: str = "interactive") -> tuple[UUID, ClaimedJob]:
    got = claim(app, tenant, lane)
    assert isinstance(got, tuple), got
    return got


def settle(app: Database, tenant: UUID, held: tuple[UUID, ClaimedJob], verdict: str = "ended", **facts: Any) -> Settled:
    with app.connection() as connection:
        return jobs.settle(
            connection, tenant, held[1].job_id, held[0], run=None, verdict=verdict,
            outcome=facts or (FAILED if verdict == "ended" else {"reason": "x", "delay_s": 3600}),
        )  # fmt: skip


def states(ops: Database, tenant: UUID) -> dict[str, int]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select state, count(*) as n from headrace.queue where tenant_id = %s group by state", [tenant]
        ).fetchall()
    return {row["state"]: row["n"] for row in rows}


def slots(ops: Database, tenant: UUID | None) -> dict[str, tuple[int, int, int]]:
    """key → cap, taken, waiting."""
    with ops.connection() as connection:
        return {one.key: (one.slots, one.taken, one.waiting) for one in limits.concurrency(connection, tenant)}


def keeps_its_promises(ops: Database) -> None:
    with ops.connection() as connection:
        assert audit.findings(connection) == []


WORKER = new_id()


@pytest.fixture(autouse=True)
def alive(ops: Database) -> None:
    with ops.connection() as connection:
        workers.heartbeat(connection, WORKER, host="h", pid=1, threads=8)


# ------------------------------------------------------------------------------------------------------ one at a time


def test_a_claim_takes_a_slot_and_a_full_cap_stops_it(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 5)
    some(app, tenant, 1, lane="batch")
    cap(ops, tenant, LANE, "interactive", 2)

    first, _ = claimed(app, tenant), claimed(app, tenant)

    assert claim(app, tenant) == Stopped(f"tenant:{tenant}:lane:interactive")
    assert slots(ops, tenant) == {"interactive": (2, 2, 3)}
    claimed(app, tenant, "batch")  # another lane is not bound
    assert settle(app, tenant, first) == Settled("ended", ((tenant, "interactive"),))
    claimed(app, tenant)
    assert isinstance(claim(app, tenant), Stopped)
    keeps_its_promises(ops)


def test_who_is_alone_frees_a_slot_for_nobody(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 1)
    cap(ops, tenant, LANE, "interactive", 1)
    cap(ops, tenant, FEATURE, "chat", 1)
    assert settle(app, tenant, claimed(app, tenant)) == Settled("ended")


def test_a_full_feature_is_passed_over_and_waits_where_it_is(app: Database, ops: Database, tenant: UUID) -> None:
    chats = some(app, tenant, 3)
    reports = some(app, tenant, 2, feature="report", user_id="u-2", estimated_tokens=100_000)
    cap(ops, tenant, FEATURE, "chat", 1)

    chat, report = claimed(app, tenant), claimed(app, tenant)

    assert (chat[1].job_id, report[1].job_id) == (chats[0], reports[0])
    assert claimed(app, tenant)[1].job_id == reports[1]
    assert states(ops, tenant) == {"running": 3, "queued": 2}
    assert slots(ops, tenant) == {"chat": (1, 1, 2)}
    assert claim(app, tenant) == Stopped(f"tenant:{tenant}:feature:chat")

    some(app, tenant, 1, lane="batch", user_id="u-3")  # the cap is over all lanes
    assert claim(app, tenant, "batch") == Stopped(f"tenant:{tenant}:feature:chat")
    assert settle(app, tenant, chat) == Settled("ended", ((tenant, "interactive"),))
    again = claimed(app, tenant)
    assert again[1].job_id == chats[1]
    settle(app, tenant, again)
    claimed(app, tenant)
    keeps_its_promises(ops)


def test_a_repeated_claim_holds_the_slots_that_it_took(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 3)
    cap(ops, tenant, LANE, "interactive", 2)
    held = claimed(app, tenant)

    again = claim(app, tenant, claim_id=held[0], repeat=True)

    assert isinstance(again, tuple) and again[1].job_id == held[1].job_id
    assert slots(ops, tenant) == {"interactive": (2, 1, 2)}


@pytest.mark.parametrize("way", ["ended", "retry", "defer", "hand_back", "reclaim", "cancel", "expire"])
@pytest.mark.parametrize("scope", [LANE, FEATURE])
def test_every_way_out_frees_the_slot(app: Database, ops: Database, tenant: UUID, way: str, scope: SlotScope) -> None:
    deadline = datetime.now(UTC) + timedelta(minutes=10)
    some(app, tenant, 1, deadline=deadline.isoformat())
    cap(ops, tenant, scope, "interactive" if scope is LANE else "chat", 1)
    held = claimed(app, tenant)
    next_one = some(app, tenant, 1)
    assert isinstance(claim(app, tenant), Stopped)

    if way == "reclaim":
        with ops.connection() as connection:
            recovery.drain_wakes(connection)
            connection.execute("update headrace.workers set heartbeat_at = heartbeat_at - interval '1 hour'")
            taken = recovery.reclaim(connection, silent_s=60, max_deaths=1)
            assert taken is not None and taken.state == "failed"
            workers.heartbeat(connection, WORKER, host="h", pid=1, threads=8)
            assert recovery.drain_wakes(connection) == {"interactive": {tenant: 1}}
    elif way == "cancel":
        with app.connection() as connection:
            assert jobs.cancel(connection, tenant, held[1].job_id, by="x") == "cancelling"
        assert settle(app, tenant, held, "retry") == Settled("cancelled", ((tenant, "interactive"),))
    elif way == "expire":
        late = settle(app, tenant, held, "retry", reason="x", until=(deadline + timedelta(minutes=10)).isoformat())
        assert late == Settled("expired", ((tenant, "interactive"),))
    else:
        assert settle(app, tenant, held, way).offers == ((tenant, "interactive"),)

    got = claimed(app, tenant)
    assert [got[1].job_id] == ([held[1].job_id] if way == "hand_back" else next_one)
    keeps_its_promises(ops)


# ------------------------------------------------------------------------------------------------- changed at run time


def test_a_cap_counts_what_runs_already(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 6)
    running = [claimed(app, tenant) for _ in range(3)]
    cap(ops, tenant, LANE, "interactive", 2)
    assert slots(ops, tenant) == {"interactive": (2, 3, 3)}
    keeps_its_promises(ops)

    assert settle(app, tenant, running[0]).offers == ()  # three ran under a cap of two
    assert isinstance(claim(app, tenant), Stopped)
    settle(app, tenant, running[1])
    claimed(app, tenant)
    assert isinstance(claim(app, tenant), Stopped)
    keeps_its_promises(ops)


def test_lowered_raised_closed_and_lifted(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 12)
    cap(ops, tenant, FEATURE, "chat", 4)
    running = [claimed(app, tenant) for _ in range(4)]
    assert isinstance(claim(app, tenant), Stopped)
    cap(ops, tenant, FEATURE, "chat", 0)
    for held in running:
        assert settle(app, tenant, held).offers == ()
    assert slots(ops, tenant) == {"chat": (0, 0, 8)}
    assert offered(ops) == 0

    cap(ops, tenant, FEATURE, "chat", 3)
    assert offered(ops) == 3
    running = [claimed(app, tenant) for _ in range(3)]
    assert offered(ops) == 0
    cap(ops, tenant, FEATURE, "chat", 1)
    cap(ops, tenant, FEATURE, "chat", 2)
    assert [settle(app, tenant, held).offers != () for held in running] == [False, True, True]
    keeps_its_promises(ops)

    cap(ops, tenant, FEATURE, "chat", None)
    assert offered(ops) == 5
    for _ in range(5):
        claimed(app, tenant)
    keeps_its_promises(ops)
    with ops.connection() as connection:
        assert connection.execute("select from headrace.slots").fetchall() == []


def offered(ops: Database) -> int:
    """What the sweep would offer."""
    with ops.connection() as connection:
        wanted = recovery.turns_wanted(connection, turns_per_tenant=64)
    return sum(n for of_lane in wanted.values() for n in of_lane.values())


def test_the_sweep_offers_no_more_turns_than_there_are_slots(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 10)

    def wanted() -> Any:
        with ops.connection() as connection:
            return recovery.turns_wanted(connection, turns_per_tenant=64)

    assert wanted() == {"interactive": {tenant: 10}}
    cap(ops, tenant, LANE, "interactive", 3)
    assert wanted() == {"interactive": {tenant: 3}}
    held = claimed(app, tenant)
    assert wanted() == {"interactive": {tenant: 2}}
    for _ in range(2):
        claimed(app, tenant)
    assert wanted() == {}
    settle(app, tenant, held)
    assert wanted() == {"interactive": {tenant: 1}}


def test_a_raised_cap_wakes_what_waits_in_every_lane(app: Database, ops: Database, tenant: UUID) -> None:
    some(app, tenant, 2)
    some(app, tenant, 1, lane="batch")
    cap(ops, tenant, FEATURE, "chat", 0)
    with ops.connection() as connection:
        recovery.drain_wakes(connection)

    cap(ops, tenant, FEATURE, "chat", 2)

    with ops.connection() as connection:
        assert recovery.drain_wakes(connection) == {"interactive": {tenant: 2}, "batch": {tenant: 2}}


# ----------------------------------------------------------------------------------------------------- many at a time


class Watcher:
    """Counts what runs under each cap, again and again, in one statement each time."""

    def __init__(self, urls: Urls, caps: dict[str, int]) -> None:
        self.caps, self.most, self.looks = caps, dict.fromkeys(caps, 0), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[urls.ops])

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self, url: str) -> None:
        with connect(url) as connection:
            while not self._stop.is_set():
                for row in connection.execute(
                    "select key, count(*) as n from headrace.queue q, lateral (values (q.lane), (q.feature)) k(key)"
                    " where q.state = 'running' group by key"
                ).fetchall():
                    self.most[row["key"]] = max(self.most.get(row["key"], 0), row["n"])
                self.looks += 1


WORK = """
import random, sys
from uuid import UUID
from storage.jobs import jobs
from storage.db.connect import connect
from storage.db.ids import new_id
url, tenant, worker, seed = sys.argv[1], UUID(sys.argv[2]), UUID(sys.argv[3]), int(sys.argv[4])
dice = random.Random(seed)
with connect(url) as connection:
    print("ready", flush=True)
    while True:
        lane, claim = dice.choice(["interactive", "batch"]), new_id()
        got = jobs.claim(connection, tenant, lane, claim_id=claim, worker_id=worker, timeout_s=600, turns_per_tenant=64)
        if isinstance(got, jobs.ClaimedJob):
            jobs.settle(connection, tenant, got.job_id, claim, run=None, verdict="hand_back", outcome={})
"""


def test_never_more_than_the_cap_with_32_threads_and_kills(urls: Urls, app: Database, ops: Database) -> None:
    """Threads claim and settle at random, processes do too and are killed, and a watcher counts throughout."""
    tenant = new_tenant(ops, "Busy")
    caps = {"interactive": 5, "batch": 3, "chat": 4, "report": 3}
    for key, n in caps.items():
        cap(ops, tenant, LANE if key in ("interactive", "batch") else FEATURE, key, n)
    todo = 800
    dice = random.Random(7)
    for _ in range(8):
        with app.connection() as connection:
            enqueue_jobs(connection, tenant, *(
                request(lane=dice.choice(["interactive", "batch"]), feature=dice.choice(["chat", "report"]),
                        user_id=f"u-{dice.randrange(5)}") for _ in range(todo // 8)
            ))  # fmt: skip
    done = threading.Event()

    def work(seed: int) -> int:
        dice, ended = random.Random(seed), 0
        with Database(urls.app, connections=1) as mine:
            while not done.is_set():
                held = claim(mine, tenant, dice.choice(["interactive", "batch"]))
                if isinstance(held, tuple):
                    verdict = dice.choice(["ended", "ended", "ended", "retry", "defer", "hand_back"])
                    facts = {"reason": "x", "delay_s": 0} if verdict in ("retry", "defer") else {}
                    ended += settle(mine, tenant, held, verdict, **facts).state == "ended"
        return ended

    def keep_house(connection: Connection) -> None:
        workers.heartbeat(connection, WORKER, host="h", pid=1, threads=8)
        recovery.release_due(connection)
        recovery.release_for_slots(connection, all_waiting_tenants(connection))
        while recovery.reclaim(connection, silent_s=1.0, max_deaths=1000):
            pass

    with Watcher(urls, caps) as watcher, ThreadPoolExecutor(32) as threads:
        ended = [threads.submit(work, seed) for seed in range(32)]
        try:
            with ops.connection() as connection:
                for seed in range(6):
                    worker = new_id()
                    workers.heartbeat(connection, worker, host="h", pid=1, threads=1)
                    process = subprocess.Popen(
                        [sys.executable, "-c", WORK, urls.app, str(tenant), str(worker), str(seed)],
                        stdout=subprocess.PIPE,
                    )
                    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
                    for _ in range(20):
                        keep_house(connection)
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    process.stdout.close()
                    workers.stopped(connection, worker)

                def nothing_left() -> bool:
                    keep_house(connection)
                    return not states(ops, tenant)

                eventually(nothing_left, within_s=120, every_s=0.01, why="all jobs end")
        finally:
            done.set()
    assert sum(one.result() for one in ended) == todo
    assert {key: watcher.most[key] <= n for key, n in caps.items()} == dict.fromkeys(caps, True), watcher.most
    assert max(watcher.most[key] for key in caps) > 1 and watcher.looks > 50, "the caps were to be met"
    assert {key: now[1:] for key, now in slots(ops, tenant).items()} == dict.fromkeys(caps, (0, 0))
    keeps_its_promises(ops)


def test_never_more_than_the_cap_while_it_is_changed(urls: Urls, app: Database, ops: Database, tenant: UUID) -> None:
    """What runs never grows above the cap that holds: it may only fall to it."""
    for _ in range(3):
        some(app, tenant, 100)
    done = threading.Event()

    def work(_: int) -> None:
        with Database(urls.app, connections=1) as mine:
            while not done.is_set():
                held = claim(mine, tenant)
                if isinstance(held, tuple):
                    settle(mine, tenant, held, "hand_back")

    def change() -> None:
        dice = random.Random(3)
        for _ in range(40):
            now = dice.choice([None, 0, 1, 2, 3, 6])
            cap(ops, tenant, LANE, "interactive", now)
            before = 12
            for _ in range(20):
                runs = states(ops, tenant).get("running", 0)
                assert now is None or runs <= max(before, now)
                before = runs
            keeps_its_promises(ops)

    with ThreadPoolExecutor(16) as threads:
        running = [threads.submit(work, n) for n in range(12)]
        try:
            change()
        finally:
            done.set()
        for one in running:
            one.result()
    cap(ops, tenant, LANE, "interactive", 2)
    assert slots(ops, tenant) == {"interactive": (2, 0, 300)}
    keeps_its_promises(ops)
