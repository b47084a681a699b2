"""enqueue → claim → begin → settle, with no wire at all."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob, Enqueued, State
from storage.money import runs
from storage.money.runs import Grant, PlannedCall
from tests.conftest import new_tenant

CHEAP = ("openai", "gpt-6-luna")  # $0.10 in, $0.50 out a million tokens; $0.125 for a cache write
WORKER = uuid4()


def request(**fields: object) -> dict[str, object]:
    return {
        "id": str(new_id()),
        "user_id": "u-1",
        "feature": "chat",
        "messages": [{"role": "user", "content": "Hello"}],
        "estimated_tokens": 100,
        **fields,
    }


def put(app: Database, tenant: UUID, *requests: dict[str, object]) -> list[Enqueued]:
    with app.connection() as connection:
        return jobs.enqueue_batch(connection, tenant, list(requests), wake=False)


def take(app: Database, tenant: UUID, claim_id: UUID | None = None, *, repeat: bool = False) -> ClaimedJob | None:
    with app.connection() as connection:
        got = jobs.claim(
            connection, tenant, "interactive", claim_id=claim_id or new_id(), worker_id=WORKER, timeout_s=60,
            turns_per_tenant=64, repeat=repeat,
        )  # fmt: skip
    return got if isinstance(got, ClaimedJob) else None


def call(**fields: object) -> PlannedCall:
    facts = {
        "run_id": new_id(), "kind": "answer", "provider": CHEAP[0], "model": CHEAP[1], "tier": "cheap",
        "route_rule": "default", "fallback": False, "input_bound": 1000, "max_output_tokens": 1000,
        "min_output_tokens": None, "prompt_id": None,
    }  # fmt: skip
    return PlannedCall(**{**facts, **fields})  # type: ignore[arg-type]


def ask(app: Database, tenant: UUID, job: UUID, claim: UUID, planned: PlannedCall) -> Grant:
    with app.connection() as connection:
        return runs.begin(connection, tenant, job, claim, planned)


def end(
    app: Database, tenant: UUID, job: UUID, claim: UUID, run: dict[str, object] | None, verdict: str, **facts: object
) -> str:
    with app.connection() as connection:
        return jobs.settle(connection, tenant, job, claim, run=run, verdict=verdict, outcome=facts).state


def used(run_id: UUID, input_tokens: int = 10, output_tokens: int = 20) -> dict[str, object]:
    return {
        "id": str(run_id), "status": "succeeded", "input_tokens": input_tokens, "cached_input_tokens": 0,
        "cache_write_tokens": 0, "output_tokens": output_tokens, "reasoning_tokens": 0, "http_status": 200,
        "latency_ms": 5,
    }  # fmt: skip


def answer(run_id: UUID) -> dict[str, object]:
    return {
        "outcome": "succeeded", "run_id": str(run_id), "output": "Hi", "finish": "complete", "max_output_tokens": 1000,
    }  # fmt: skip


def caps(app: Database, tenant: UUID) -> dict[str, tuple[Decimal, Decimal]]:
    with app.as_tenant(tenant) as connection:
        rows = connection.execute("select scope, spent_usd, reserved_usd from headrace.caps").fetchall()
    return {row["scope"]: (row["spent_usd"], row["reserved_usd"]) for row in rows}


def test_a_job_goes_the_whole_way_and_every_book_agrees(app: Database, tenant: UUID) -> None:
    (done,) = put(app, tenant, request())
    assert done.job_id is not None
    claim_id = new_id()
    job = take(app, tenant, claim_id)
    assert job is not None
    assert job.job_id == done.job_id
    planned = call()
    grant = ask(app, tenant, job.job_id, claim_id, planned)
    assert grant.verdict == "granted"
    # 1,000 tokens at the dearest input rate (cache write) + 1,000 tokens of output
    assert grant.reserved_usd == Decimal("0.000125") + Decimal("0.0005")
    assert caps(app, tenant) == dict.fromkeys(("tenant", "user", "feature"), (Decimal(0), grant.reserved_usd))

    assert end(app, tenant, job.job_id, claim_id, used(planned.run_id), "ended", **answer(planned.run_id)) == "ended"

    cost = Decimal("0.000001") + Decimal("0.00001")
    assert caps(app, tenant) == dict.fromkeys(("tenant", "user", "feature"), (cost, Decimal(0)))
    with app.as_tenant(tenant) as connection:
        view = jobs.show(connection, job.job_id)
        (day,) = connection.execute(
            "select sum(cost_usd) as usd, sum(calls) as calls from headrace.spend_daily"
        ).fetchall()
        assert connection.execute("select count(*) as n from headrace.queue").fetchone() == {"n": 0}
        assert connection.execute("select count(*) as n from headrace.reservations").fetchone() == {"n": 0}
    assert view is not None
    assert (view.state, view.output, view.cost_usd, view.attempts) == (State.SUCCEEDED, "Hi", cost, 1)
    assert (day["usd"], day["calls"]) == (cost, 1)


def test_each_of_the_four_is_safe_to_repeat(app: Database, tenant: UUID) -> None:
    one = request(idempotency_key="k-1")
    assert [put(app, tenant, one)[0].created, put(app, tenant, one)[0].created] == [True, False]
    claim_id = new_id()
    first = take(app, tenant, claim_id)
    again = take(app, tenant, claim_id, repeat=True)
    assert first is not None and again is not None and again.job_id == first.job_id and again.attempt == 1
    planned = call()
    grants = [ask(app, tenant, first.job_id, claim_id, planned) for _ in range(2)]
    assert grants[0].verdict == grants[1].verdict == "granted"
    assert caps(app, tenant)["tenant"][1] == grants[0].reserved_usd
    for _ in range(2):
        assert (
            end(app, tenant, first.job_id, claim_id, used(planned.run_id), "ended", **answer(planned.run_id)) == "ended"
        )
    assert caps(app, tenant)["tenant"] == (Decimal("0.000011"), 0)


def test_a_key_used_again_gives_the_first_job_and_another_body_a_conflict(app: Database, tenant: UUID) -> None:
    (first,) = put(app, tenant, request(idempotency_key="k"))
    (same,) = put(app, tenant, request(idempotency_key="k"))
    (other,) = put(app, tenant, request(idempotency_key="k", messages=[{"role": "user", "content": "Bye"}]))
    assert same.job_id == first.job_id and not same.created
    assert other.error is not None and other.error["code"] == "idempotency_conflict"
    # and twice in one batch
    batch = put(app, tenant, request(idempotency_key="b"), request(idempotency_key="b"))
    assert batch[0].job_id == batch[1].job_id and [one.created for one in batch] == [True, False]


@pytest.mark.parametrize("verdict", ["retry", "defer"])
def test_requeue_later_counts_an_attempt_only_when_it_failed(app: Database, tenant: UUID, verdict: str) -> None:
    put(app, tenant, request())
    claim_id = new_id()
    job = take(app, tenant, claim_id)
    assert job is not None
    assert end(app, tenant, job.job_id, claim_id, None, verdict, reason="x", delay_s=0) == "scheduled"
    with app.as_tenant(tenant) as connection:
        view = jobs.show(connection, job.job_id)
    assert view is not None
    assert (view.state, view.reason, view.attempts) == (State.SCHEDULED, "x", 1 if verdict == "retry" else 0)


def test_a_zombie_cannot_end_the_job_but_its_usage_corrects_its_run(app: Database, ops: Database, tenant: UUID) -> None:
    put(app, tenant, request())
    claim_id = new_id()
    job = take(app, tenant, claim_id)
    assert job is not None
    planned = call()
    grant = ask(app, tenant, job.job_id, claim_id, planned)
    with ops.connection() as connection:  # the worker never sent a heartbeat: it is silent
        row = connection.execute("select state from headrace.reclaim(0, 3)").fetchone()
    assert row == {"state": "queued"}
    assert caps(app, tenant)["tenant"] == (grant.reserved_usd, 0)

    assert end(app, tenant, job.job_id, claim_id, used(planned.run_id), "ended", **answer(planned.run_id)) == "lost"

    assert caps(app, tenant)["tenant"] == (Decimal("0.000011"), 0)
    again = take(app, tenant)
    assert again is not None and again.job_id == job.job_id and again.attempt == 2


@pytest.mark.parametrize("verdict", ["ended", "retry", "defer", "hand_back", "next_call"])
def test_a_zombie_moves_nothing_while_the_job_runs_elsewhere(
    app: Database, ops: Database, tenant: UUID, verdict: str
) -> None:
    """The claim's fence itself: the row is running, but for another worker."""
    put(app, tenant, request())
    zombie, heir = new_id(), new_id()
    job = take(app, tenant, zombie)
    assert job is not None
    late, planned = call(), call()
    ask(app, tenant, job.job_id, zombie, late)
    with ops.connection() as connection:
        connection.execute("select headrace.reclaim(0, 3)")
    again = take(app, tenant, heir)
    assert again is not None and again.job_id == job.job_id
    grant = ask(app, tenant, job.job_id, heir, planned)

    facts = answer(late.run_id) if verdict == "ended" else {"reason": "x", "delay_s": 0}
    assert end(app, tenant, job.job_id, zombie, used(late.run_id), verdict, **facts) == "lost"

    assert caps(app, tenant)["tenant"] == (Decimal("0.000011"), grant.reserved_usd)  # its usage is known, no more
    with app.as_tenant(tenant) as connection:
        rows = connection.execute("select state, claim_id, attempts from headrace.queue").fetchall()
        assert rows == [{"state": "running", "claim_id": heir, "attempts": 2}]
        assert connection.execute("select job_id from headrace.results").fetchall() == []
    assert end(app, tenant, job.job_id, heir, used(planned.run_id), "ended", **answer(planned.run_id)) == "ended"
    with app.as_tenant(tenant) as connection:
        assert connection.execute("select run_id from headrace.results").fetchall() == [{"run_id": planned.run_id}]


def test_what_would_pass_a_cap_is_refused_and_what_meets_reservations_waits(app: Database, ops: Database) -> None:
    poor = new_tenant(ops, "Poor", daily_cap_usd=Decimal("0.003"))  # a user's share is 20 %: 0.0006
    put(app, poor, request(), request(), request())
    claims = [new_id() for _ in range(3)]
    taken = [take(app, poor, one) for one in claims]
    assert all(taken)
    half = {"input_bound": 0, "max_output_tokens": 800}  # 0.0004
    assert ask(app, poor, taken[0].job_id, claims[0], call(**half)).verdict == "granted"
    waits = ask(app, poor, taken[1].job_id, claims[1], call(**half))
    assert (waits.verdict, waits.cap_scope, waits.others_reserved_usd) == ("wait_for_room", "user", Decimal("0.0004"))
    refused = ask(app, poor, taken[2].job_id, claims[2], call(input_bound=0, max_output_tokens=1400))
    assert (refused.verdict, refused.cap_scope, refused.room_at) == ("over_budget", "user", None)
    shrunk = ask(app, poor, taken[1].job_id, claims[1], call(**half, min_output_tokens=100))
    assert (shrunk.verdict, shrunk.max_output_tokens) == ("granted", 400)
    assert caps(app, poor)["user"] == (0, Decimal("0.0006"))


def test_an_unpriced_model_never_runs(app: Database, tenant: UUID) -> None:
    put(app, tenant, request())
    claim_id = new_id()
    job = take(app, tenant, claim_id)
    assert job is not None
    assert ask(app, tenant, job.job_id, claim_id, call(model="gpt-of-tomorrow")).verdict == "unpriced"


def test_one_users_flood_does_not_starve_a_colleague(app: Database, tenant: UUID) -> None:
    put(app, tenant, *[request(user_id="flood") for _ in range(50)])
    take(app, tenant)
    put(app, tenant, request(user_id="colleague"))
    order = [take(app, tenant) for _ in range(2)]
    assert "colleague" in [one.user_id for one in order if one]
