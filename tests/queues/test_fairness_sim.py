"""Small seeded cases of the simulator (benchmarks/fairness_sim): real Lua, real consumers, on a logical clock."""

from __future__ import annotations

import random

import pytest

from benchmarks.fairness_sim.backlog import MemoryBacklog
from benchmarks.fairness_sim.jobs import Asked, alike, mixed
from benchmarks.fairness_sim.ledger import Ledger, jain, percentile
from benchmarks.fairness_sim.postgres import PostgresBacklog
from benchmarks.fairness_sim.scenarios import SCENARIOS, Bench, backlogged, fleet
from benchmarks.fairness_sim.world import CALL_S, TOKEN_S, Started
from storage.db.database import Database
from tests.support.fleet import Urls


@pytest.fixture
def bench(valkey, client) -> Bench:
    return Bench(valkey.url, client.flushall, seed=7)


def test_a_hundred_backlogged_tenants_share_by_weight(bench):
    findings = {one.what: one for one in backlogged(bench, 100, rounds=24, weights=(1, 2, 4))}
    assert findings["Jain's index of work / weight"].value >= 0.999
    assert findings["largest difference of work / weight"].met


@pytest.mark.parametrize("name", ["split", "idling", "idling-and-lying", "weights", "few-tenants", "flood", "lanes"])
def test_scenario(bench, name):
    bench.scale = {"few-tenants": 0.4, "lanes": 1, "weights": 0.4}.get(name, 0.2)
    missed = [one for one in SCENARIOS[name](bench) if one.met is False]
    assert missed == []


def test_the_same_seed_is_the_same_run(bench):
    def starts() -> list[Started]:
        noted: list[Started] = []
        with fleet(bench, processes=3, slots=2) as run:
            run.watch.append(noted.append)
            for i in range(5):
                run.endless(f"t-{i}", 1 + i, mixed(random.Random(i), 400))
            run.until_started(150)
        return noted

    assert starts() == starts()


def test_no_slot_stays_empty_while_there_is_work(bench):
    """All work is there at the start: the last start comes when no slot could have been idle before."""
    with fleet(bench, processes=5, slots=3) as run:
        dice = random.Random(5)
        jobs = [Asked(f"u-{dice.randrange(9)}", 300, dice.randrange(50, 900)) for _ in range(300)]
        for i in range(20):
            run.world.put(run.backlog.admit(f"t-{i}", 1), jobs[i * 15 : (i + 1) * 15])
        last = 0.0

        def started(start: Started) -> None:
            nonlocal last
            last = start.at

        run.watch.append(started)
        run.world.run()
        longest_calls = sum(CALL_S + job.tokens * TOKEN_S * 1.2 for job in jobs)
        overhead = 0.01 * len(jobs)  # from a slot's release to its next claim
        assert run.ledger.starts == len(jobs)
        assert last <= (longest_calls + overhead) / 15


def test_jobs_wait_in_memory_as_they_wait_in_postgres(bench, app: Database, ops: Database):
    """The same tenants, the same jobs, the same seed: the real claim hands them out in the same order."""

    def order(run_on) -> list[tuple[str, Asked]]:
        bench.real_backlog = run_on
        noted: list[tuple[str, Asked]] = []
        with fleet(bench, processes=3, slots=2) as run:
            names = {run.backlog.admit(name, weight): name for name, weight in (("ada", 1.0), ("ben", 3.0))}
            run.watch.append(lambda start: noted.append((names[start.tenant], start.job)))
            for at in range(4):
                for tenant, name in names.items():
                    dice = random.Random(f"{at} {name}")
                    source = mixed(dice, 300, users=3)
                    jobs = [source() for _ in range(12)]
                    run.world.at(at * 2.0 + dice.random(), lambda tenant=tenant, jobs=jobs: run.world.put(tenant, jobs))
            run.world.run()
        return noted

    def per_tenant(noted):
        return {name: [job for tenant, job in noted if tenant == name] for name in ("ada", "ben")}

    real = order(lambda: PostgresBacklog(app, ops))
    assert len(real) == 2 * 4 * 12
    assert per_tenant(real) == per_tenant(order(MemoryBacklog))


@pytest.mark.parametrize("flood", [30, 300])
def test_one_users_flood_does_not_starve_colleagues(bench, app: Database, ops: Database, urls: Urls, flood: int):
    """On the real claim: with two slots, a colleague's job is the next to start, however long the flood is."""
    bench.real_backlog = lambda: PostgresBacklog(app, ops)
    with fleet(bench, processes=1, slots=2) as run:
        tenant = run.backlog.admit("acme", 1)
        run.world.put(tenant, [alike(300, user="loud")()] * flood)
        between: list[int] = []
        asked_at: list[int] = []

        def asks() -> None:
            asked_at.append(run.ledger.starts)
            run.world.put(tenant, [alike(300, user=f"colleague-{len(asked_at) % 3}")()])
            if len(asked_at) < 6:
                run.world.after(2.5, asks)

        def started(start: Started) -> None:
            if start.job.user != "loud":
                between.append(run.ledger.starts - asked_at[len(between)])

        run.watch.append(started)
        run.world.at(3.1, asks)
        run.world.run(until=20)
        assert len(between) == 6
        assert max(between) <= 2, "one turn may have been taken already when it was asked"


def test_figures():
    assert jain([2, 2, 2]) == 1
    assert jain([3, 0, 0]) == pytest.approx(1 / 3)
    assert [percentile(range(100), p) for p in (0, 50, 99)] == [0, 50, 99]
    assert percentile([], 99) == 0
    ledger = Ledger()
    ledger.note(Started(1.0, 1.0, "ada", Asked("u", 50, 100), wait_s=2.0, work=50.0))
    ledger.note(Started(1.0, 1.0, "ben", Asked("u", 90, 90), wait_s=1.0, work=90.0))
    assert ledger.difference(["ada", "ben"]) == 40
    assert ledger.bound(["ada", "ben"], in_flight=2) == 50 + 2 * 25 + 90
