"""A job's whole life on the real SQL, in any order that Hypothesis thinks of: several workers, crashes and zombies,
lost answers repeated at any later time, cancels, caps that move, a clock that jumps. After each step the database is
held against a plain model and against the checker that operators use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from storage.catalogue import tenants
from storage.fleet import audit, recovery, workers
from storage.jobs import jobs
from storage.jobs.jobs import AskedAgain
from storage.money.runs import PlannedCall
from tests.support.fleet import Urls
from tests.support.lifecycle_model import MAX_DEATHS, Claim, Job, Road, Run, Worker
from tests.support.lifecycle_world import (
    AMPLE,
    LANES,
    LIMITS,
    PROVIDERS,
    SILENT_S,
    START,
    TENANT_LIMITS,
    WORKERS,
    World,
    calls,
    endings,
    open_world,
    requests,
    tenant_no,
    which,
)
from tests.support.transactions import (
    CLAIM_S,
    answered_run,
    begin_call,
    claim_job,
    enqueue_jobs,
    planned_call,
    refused_run,
    request,
    settle_job,
    succeeded_outcome,
    unknown_run,
)


class TheRoad(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.ids = 0
        self.world.wipe()
        self.world.clock.set(START)
        self.tenants = [
            tenants.add(self.world.ops, name=f"T{limit}", plan="pro", same_name=True, daily_cap_usd=limit)
            for limit in TENANT_LIMITS
        ]
        self.road = Road(dict(zip(self.tenants, TENANT_LIMITS, strict=True)), user_share=Decimal("0.2"))
        self.workers = [Worker(self.new_id(), START) for _ in range(WORKERS)]
        self.beat()
        self.repeats: list[Callable[[], object]] = []  # each step once more, with the same identity
        self.as_ended: dict[UUID, Any] = {}  # how each ended job looked when it was first seen
        self.totals: dict[tuple[UUID, str, str], tuple[Decimal, Decimal]] = {}  # of each cap after the last step

    def new_id(self) -> UUID:
        """Ids that are the same when an example is replayed: they decide between jobs of equal rank."""
        self.ids += 1
        return UUID(int=int(START.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | self.ids)

    @property
    def now(self) -> datetime:
        return self.world.clock.now

    def beat(self) -> None:
        for worker in self.workers:
            if not worker.stopped:
                workers.heartbeat(self.world.ops, worker.id, host="h", pid=1, threads=8)
                worker.beat_at = self.now

    @rule(pick=which, another_call=st.booleans(), worker=st.integers(0, WORKERS - 1), call=calls, ending=endings)
    def go_on(self, pick, another_call, worker, call, ending):
        """The step that comes next in the life of some job: claim, begin or settle."""
        live = [claim for claim in self.road.claims if claim.live]
        queued = self.road.live("queued")
        if queued and (not live or pick % 3 == 0):
            job = queued[pick // 3 % len(queued)]
            self.claim_job(job.tenant, job.lane, self.workers[worker], self.new_id())
        elif live:
            claim = live[pick // 3 % len(live)]
            if claim.open_run is None and (not claim.has_settled or another_call):
                self.begin_call(claim, **call)
            else:
                self.settle(claim, **ending)

    @rule(pick=which, what=st.sampled_from(["claim", "begin", "settle"]), call=calls, ending=endings)
    def out_of_order(self, pick, what, call, ending):
        """A stale turn claims; a holder, or a zombie that does not know yet that it is one, begins or settles."""
        if what == "claim" or not self.road.claims:
            lane, worker = LANES[pick % 2], self.workers[pick % WORKERS]
            self.claim_job(self.tenants[pick // 2 % 2], lane, worker, self.new_id())
            return
        claim = self.road.claims[pick % len(self.road.claims)]
        if what == "settle":
            self.settle(claim, **ending)
        elif claim.open_run is None:  # a job's calls come one after the other
            self.begin_call(claim, **call)

    # -------------------------------------------------------------------------------------------------- enqueue

    @initialize(batch=st.lists(requests, min_size=3, max_size=6), tenant=tenant_no)
    def begin_with_some(self, batch, tenant):
        self.enqueue(tenant, batch)

    @rule(tenant=tenant_no, batch=st.lists(requests, min_size=1, max_size=3))
    def enqueue(self, tenant, batch):
        rows = [self.row(one) for one in batch]
        self.enqueue_jobs(self.tenants[tenant], rows)
        self.repeats.append(lambda: self.enqueue_jobs(self.tenants[tenant], rows))

    def row(self, one: dict[str, Any]) -> dict[str, Any]:
        times = {"run_at": one["run_in"], "deadline": one["deadline_in"]}
        facts = {
            name: value
            for name, value in one.items()
            if name not in ("run_in", "deadline_in", "content") and value is not None
        }
        facts |= {
            name: (self.now + timedelta(seconds=offset)).isoformat()
            for name, offset in times.items()
            if offset is not None
        }
        return request(**facts, id=str(self.new_id()), messages=[{"role": "user", "content": one["content"]}])

    def enqueue_jobs(self, tenant: UUID, rows: list[dict[str, Any]]) -> None:
        for row, got in zip(rows, enqueue_jobs(self.world.app, tenant, *rows), strict=True):
            code = None if got.error is None else got.error["code"]
            assert (got.job_id, got.created, got.lane, code) == self.let_in(tenant, row)

    def let_in(self, tenant: UUID, row: dict[str, Any]) -> tuple[UUID | None, bool, str | None, str | None]:
        """What the door must say to one request: the job's id, whether it is new, the lane of its turn, the error."""
        job_id, key = UUID(row["id"]), row.get("idempotency_key")
        run_at, deadline = (
            datetime.fromisoformat(row[name]) if name in row else None for name in ("run_at", "deadline")
        )
        if job_id in self.road.jobs:
            return job_id, False, row["lane"] if self.road.jobs[job_id].state == "queued" else None, None
        if deadline is not None and deadline <= self.now:
            return None, False, None, "deadline_passed"
        if key is not None:
            body = {name: row[name] for name in row.keys() - {"id", "run_at", "deadline", "estimated_tokens"}}
            first, first_body = self.road.keys.setdefault((tenant, key), (job_id, body))
            if first_body != body:
                return None, False, None, "idempotency_conflict"
            if first != job_id:
                return first, False, None, None
        later = run_at is not None and run_at > self.now
        self.road.jobs[job_id] = Job(
            id=job_id, tenant=tenant, user=row["user_id"], feature=row["feature"], lane=row["lane"],
            on_unknown=row["on_unknown"], deadline=deadline, state="scheduled" if later else "queued",
            run_at=run_at if later else None,
        )  # fmt: skip
        return job_id, True, None if later else row["lane"], None

    # ---------------------------------------------------------------------------------------------------- claim

    def claim_again(self, old: Claim) -> None:
        """When the job was reclaimed meanwhile, the repeat is a claim like any other."""
        if old.runs or old.has_settled or old not in self.road.claims:
            return  # so its answer had arrived
        if not old.live:
            self.road.claims.remove(old)
            self.claim_job(old.job.tenant, old.job.lane, old.worker, old.id, repeat=True)
            return
        got = claim_job(
            self.world.app, old.job.tenant, claim_id=old.id, worker_id=old.worker.id, lane=old.job.lane, repeat=True
        )
        assert got is not None
        assert (got.job_id, got.attempt) == (old.job.id, old.job.attempts)

    def claim_job(
        self, tenant: UUID, lane: str, worker: Worker, claim_id: UUID, *, repeat: bool = False
    ) -> Claim | None:
        got = claim_job(self.world.app, tenant, claim_id=claim_id, worker_id=worker.id, lane=lane, repeat=repeat)
        waiting = [job for job in self.road.live("queued") if (job.tenant, job.lane) == (tenant, lane)]
        late = [job for job in waiting if job.deadline is not None and job.deadline <= self.now]
        assert all(self.state_of(job) == "queued" for job in late), "a claim passes over them, the scheduler ends them"
        if got is None:
            assert waiting == late, "a job waited and nothing was claimed"
            return None
        job = self.road.jobs[got.job_id]
        assert job in waiting
        assert job not in late
        job.state, job.attempts = "running", job.attempts + 1
        assert got.attempt == job.attempts
        job.claim = claim = Claim(claim_id, worker, job, self.now + timedelta(seconds=CLAIM_S))
        self.road.claims.append(claim)
        self.repeats.append(lambda: self.claim_again(claim))
        return claim

    def state_of(self, job: Job) -> str:
        row = self.world.ops.execute("select state from headrace.job_status where id = %s", [job.id]).fetchone()
        assert row is not None
        return str(row["state"])

    # ---------------------------------------------------------------------------------------------------- begin

    def begin_call(self, claim: Claim, model: str, later_output: int = 0, **facts: Any) -> Run | None:
        planned = planned_call(run_id=self.new_id(), provider=PROVIDERS[model], model=model, **facts)
        then = [planned_call(max_output_tokens=later_output, input_bound=0)]
        price, platform = self.world.prices[model], planned.key_owner == "platform"
        shortest = min(planned.min_output_tokens or planned.max_output_tokens, planned.max_output_tokens)
        worst, least = (price.worst(planned.input_bound, n) for n in (planned.max_output_tokens, shortest))
        later = self.world.prices["gpt-6-luna"].worst(0, later_output)
        expected = self.road.verdict(claim, worst, least, later, platform=platform, now=self.now)
        whole = self.road.verdict(claim, worst, worst, later, platform=platform, now=self.now)
        got = begin_call(self.world.app, claim.job.tenant, claim.job.id, claim.id, planned, then)
        assert got.verdict == expected
        if got.verdict != "granted":
            return None
        assert got.max_output_tokens is not None
        assert shortest <= got.max_output_tokens <= planned.max_output_tokens
        assert (whole == "granted") == (got.max_output_tokens == planned.max_output_tokens)
        assert got.reserved_usd == price.worst(planned.input_bound, got.max_output_tokens)
        run = Run(
            id=planned.run_id, claim=claim, model=model, platform=platform, reserved=got.reserved_usd,
            max_output=got.max_output_tokens, started_at=self.now,
        )  # fmt: skip
        claim.runs.append(run)
        self.road.runs[run.id] = run
        if platform and run.reserved + later > claim.held:
            claim.held = run.reserved + later
            for cap in self.road.caps_of(claim.job, self.now):
                assert cap.limit is None or cap.total <= cap.limit
        self.repeats.append(lambda: self.begin_again(run, planned, then))
        return run

    def begin_again(self, run: Run, planned: PlannedCall, then: list[PlannedCall]) -> None:
        """Read back as long as the claim holds. A zombie is told not to call."""
        got = begin_call(self.world.app, run.claim.job.tenant, run.claim.job.id, run.claim.id, planned, then)
        if run.claim.live:
            assert (got.verdict, got.reserved_usd, got.max_output_tokens) == ("granted", run.reserved, run.max_output)
        else:
            assert got.verdict == "lost"

    # --------------------------------------------------------------------------------------------------- settle

    def settle(
        self, claim: Claim, heard: str | None, input_tokens: int, output_tokens: int, verdict: str, outcome: str,
        delay_s: int,
    ) -> None:  # fmt: skip
        run = claim.runs[-1] if claim.runs and claim.runs[-1].status in ("started", "unknown") else None
        books: dict[str, Any] | None = None
        if run is not None and heard is not None:
            books = {
                "succeeded": lambda: answered_run(run.id, input_tokens, output_tokens),
                "failed": lambda: refused_run(run.id),
                "unknown": lambda: unknown_run(run.id),
            }[heard]()
        facts: dict[str, Any] = {}
        if verdict == "ended":
            answered = run is not None and books is not None and heard == "succeeded"
            facts = (
                succeeded_outcome(run.id) if answered else {"outcome": outcome, "reason": "x", "error": {"code": "x"}}
            )
        elif verdict == "retry":
            facts = {"reason": "provider_unavailable", "delay_s": delay_s}
        elif verdict == "defer":
            facts = {"reason": "over_budget", "until": (self.now + timedelta(seconds=delay_s)).isoformat()}
        self.settle_job(claim, books, verdict, facts)
        self.repeats.append(lambda: self.settle_job(claim, books, verdict, facts))

    def settle_job(self, claim: Claim, books: dict[str, Any] | None, verdict: str, facts: dict[str, Any]) -> None:
        job = claim.job
        got = settle_job(self.world.app, job.tenant, job.id, claim.id, books, verdict, **facts)
        claim.has_settled = True
        if books is not None:
            run = self.road.runs[UUID(books["id"])]
            cost = run.reserved if books["status"] == "unknown" else self.world.prices[run.model].cost(
                books.get("input_tokens", 0), books.get("output_tokens", 0)
            )  # fmt: skip
            run.settle(books["status"], cost)
        if not claim.live:
            expected = "ended" if job.ended_by == claim.id else "lost"
        elif verdict == "next_call":
            expected = "kept"
        elif verdict == "hand_back":
            expected = job.requeue(self.now, None, burns_attempt=False, by=claim)
        elif verdict == "ended":
            state = "cancelled" if job.cancelling else facts["outcome"]
            job.end(state, by=claim)
            expected = "cancelled" if job.cancelling else "ended"
        else:
            until = facts.get("until")
            run_at = datetime.fromisoformat(until) if until else self.now + timedelta(seconds=facts["delay_s"])
            expected = job.requeue(self.now, run_at, burns_attempt=verdict == "retry", by=claim)
        assert got == expected

    # ---------------------------------------------------------------------------------------- any step once more

    @precondition(lambda self: self.repeats)
    @rule(pick=which)
    def again(self, pick):
        """Its answer was lost, so it is made with the same identity once more: at once, or much later."""
        self.repeats[-1 - pick % len(self.repeats)]()

    # ------------------------------------------------------------------------------------------- people and time

    @precondition(lambda self: self.road.jobs)
    @rule(pick=which, what=st.sampled_from(["cancel", "run again", "change a cap"]), limit=st.sampled_from(LIMITS))
    def somebody_steps_in(self, pick, what, limit):
        some = self.road.live("running") if pick % 2 else []
        among = some or list(self.road.jobs.values())
        job = among[pick // 2 % len(among)]
        if what == "cancel":
            self.cancel(job)
            self.repeats.append(lambda: self.cancel(job))
        elif what == "run again":
            new_id = self.new_id()
            self.run_again(job, new_id)
            self.repeats.append(lambda: self.run_again(job, new_id))
        else:
            scope, key = [("tenant", ""), ("user", job.user), ("feature", job.feature)][pick // 2 % 3]
            self.set_cap(job.tenant, scope, key, limit)

    def cancel(self, job: Job) -> None:
        got = jobs.cancel(self.world.app, job.tenant, job.id, by="a person")
        if job.state == "running":
            job.cancelling = True
            assert got == "cancelling"
        else:
            assert got == (job.state if job.ended else job.end("cancelled"))

    def run_again(self, job: Job, new_id: UUID) -> None:
        got = jobs.run_again(self.world.ops, job.tenant, job.id, new_id, by="a person")
        if job.state not in ("failed", "rejected", "cancelled", "expired"):
            assert got is None
            return
        first = job.asked_again_as or new_id
        assert got == AskedAgain(first, job.lane, created=job.asked_again_as is None)
        job.asked_again_as = first
        if first not in self.road.jobs:
            self.road.jobs[first] = Job(
                id=first, tenant=job.tenant, user=job.user, feature=job.feature, lane=job.lane,
                on_unknown=job.on_unknown, deadline=None, state="queued",
            )  # fmt: skip

    def set_cap(self, tenant: UUID, scope: str, key: str, limit: Decimal) -> None:
        self.road.limits[tenant, scope, key] = limit
        if scope == "tenant":
            tenants.set_cap(self.world.ops, tenant, limit, actor="a person")
            return
        with self.world.owner.transaction():
            self.world.owner.execute(
                "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)"
                " values (%s, %s, %s, %s, date_trunc('hour', headrace.now(), 'UTC'))"
                " on conflict (tenant_id, scope, key) do update set limit_usd = excluded.limit_usd",
                [tenant, scope, key, limit],
            )
            self.world.owner.execute(
                "insert into headrace.audit (tenant_id, actor, action, target) values (%s, 'a person', 'set_cap', %s)",
                [tenant, scope],
            )

    @rule(worker=st.integers(0, WORKERS - 1))
    def crash_or_come_back(self, worker):
        """Killed, or stopped and continued: from the outside both are silence."""
        self.workers[worker].stopped = not self.workers[worker].stopped

    @rule(seconds=st.sampled_from([1, 11, 11, 61, 61, 3600, 82_800, 90_000]), scheduler_runs=st.booleans())
    def wait(self, seconds, scheduler_runs):
        self.world.clock.advance(seconds)
        self.beat()
        if scheduler_runs:
            self.do_all_chores()

    # ---------------------------------------------------------------------------------------------- the scheduler

    def do_all_chores(self) -> None:
        self.release_due(1000)
        self.expire(1000)
        while self.reclaim():
            pass

    @rule(chore=st.sampled_from(["reclaim", "release_due", "expire"]), limit=st.sampled_from([1, 1000]))
    def schedule(self, chore, limit):
        {
            "reclaim": lambda: self.reclaim(),
            "release_due": lambda: self.release_due(limit),
            "expire": lambda: self.expire(limit),
        }[chore]()

    def reclaim(self) -> bool:
        lost = self.road.lost(self.now, SILENT_S)
        got = recovery.reclaim(self.world.ops, silent_s=SILENT_S, max_deaths=MAX_DEATHS)
        if got is None:
            assert lost == []
            return False
        job = self.road.jobs[got.job_id]
        assert job in lost
        assert got.state == job.reclaim(self.now, SILENT_S)
        return True

    def release_due(self, limit: int) -> None:
        due = [job for job in self.road.live("scheduled") if job.run_at is not None and job.run_at <= self.now]
        turns = recovery.release_due(self.world.ops, limit=limit)
        moved = [job for job in due if self.state_of(job) == "queued"]
        assert len(moved) == min(limit, len(due)) == sum(sum(of_lane.values()) for of_lane in turns.values())
        for job in moved:
            job.state, job.run_at = "queued", None

    def expire(self, limit: int) -> None:
        late = [
            job
            for job in (*self.road.live("scheduled"), *self.road.live("queued"))
            if job.deadline is not None and job.deadline <= self.now
        ]
        assert recovery.expire(self.world.ops, limit=limit) == min(limit, len(late))
        for job in late:
            if self.state_of(job) == "expired":
                job.end("expired")

    # ------------------------------------------------------------------------------------------------- must hold

    @invariant()
    def no_promise_is_broken(self):
        assert audit.findings(self.world.ops) == []

    @invariant()
    def every_job_is_where_it_should_be_and_an_ending_is_for_ever(self):
        rows = self.world.ops.execute(
            """select j.id, s.state, s.attempts, s.run_at, q.claim_id, coalesce(q.deaths, 0) as deaths,
                      coalesce(q.overdue, 0) as overdue, q.cancel_requested_at is not null as cancelling,
                      case when j.outcome is not null
                           then jsonb_build_object('job', to_jsonb(j), 'result', to_jsonb(r)) end as whole
               from headrace.jobs j join headrace.job_status s on s.id = j.id
               left join headrace.queue q on q.id = j.id left join headrace.results r on r.job_id = j.id"""
        ).fetchall()
        for row in rows:
            job, whole = self.road.jobs[row["id"]], row.pop("whole")
            assert row == {
                "id": job.id,
                "state": job.state,
                "attempts": job.attempts,
                "run_at": job.run_at,
                "claim_id": job.claim and job.claim.id,
                "deaths": 0 if job.ended else job.deaths,
                "overdue": 0 if job.ended else job.overdue,
                "cancelling": job.cancelling and not job.ended,
            }
            if job.ended:  # for ever, but for the one job that may ask for it anew
                again = whole["job"].pop("asked_again_as")
                assert again == (job.asked_again_as and str(job.asked_again_as))
                assert whole == self.as_ended.setdefault(job.id, whole)
        assert len(rows) == len(self.road.jobs)

    @invariant()
    def every_call_costs_what_it_should(self):
        rows = self.world.ops.execute("select id, status, cost_usd, reserved_usd from headrace.runs").fetchall()
        assert {row["id"]: (row["status"], row["cost_usd"], row["reserved_usd"]) for row in rows} == {
            run.id: (run.status, run.cost, run.reserved) for run in self.road.runs.values()
        }

    @invariant()
    def no_cap_is_passed(self):
        """What counts against a cap is under its limit, or has not risen but by what was billed beyond the bound."""
        rows = self.world.ops.execute(
            "select tenant_id, scope, key, spent_usd, reserved_usd,"
            " hour = date_trunc('hour', headrace.now(), 'UTC') as fresh from headrace.caps"
        ).fetchall()
        for row in rows:
            name = (row["tenant_id"], row["scope"], row["key"])
            cap = self.road.cap(*name, self.now)
            assert row["reserved_usd"] == cap.reserved
            if row["fresh"]:
                assert row["spent_usd"] == cap.spent
            total, flagged = self.totals.get(name, (Decimal(0), Decimal(0)))
            assert cap.limit is None or cap.total <= cap.limit or cap.total <= total + cap.flagged - flagged
            self.totals[name] = (cap.total, cap.flagged)

    # ------------------------------------------------------------------------------------------------ to the end

    def teardown(self) -> None:
        """Whatever an example left in motion comes to its end by the ordinary road."""
        if sys.exc_info()[0] is not None:
            return
        for cap in list(self.road.limits):
            self.set_cap(*cap, AMPLE)
        while any(not job.ended for job in self.road.jobs.values()):
            self.wait(5000, scheduler_runs=True)
            for tenant in self.tenants:
                for lane in LANES:
                    while claim := self.claim_job(tenant, lane, self.workers[0], self.new_id()):
                        self.work(claim)
            self.check()
        for table in ("queue", "reservations", "runs where status = 'started'", "caps where reserved_usd <> 0"):
            assert self.world.ops.execute(f"select from headrace.{table}").fetchall() == []  # type: ignore[arg-type]

    def work(self, claim: Claim) -> None:
        run = self.begin_call(claim, "gpt-6-luna", max_output_tokens=50)
        if run is None:
            self.settle_job(claim, None, "ended", {"outcome": "expired", "reason": "deadline_passed"})
        else:
            self.settle_job(claim, answered_run(run.id), "ended", succeeded_outcome(run.id))

    def check(self) -> None:
        self.no_promise_is_broken()
        self.every_job_is_where_it_should_be_and_an_ending_is_for_ever()
        self.every_call_costs_what_it_should()
        self.no_cap_is_passed()


@pytest.fixture
def machine(urls: Urls) -> Iterator[type[TheRoad]]:
    with open_world(urls) as world:
        yield type("Machine", (TheRoad,), {"world": world})


def test_every_order_of_steps_keeps_every_promise(machine: type[TheRoad]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=set(Phase) - {Phase.explain},  # takes minutes and says little of a history
            report_multiple_bugs=False,
        ),
    )
