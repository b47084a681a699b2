"""One job through real processes: producer, wire, worker, provider over HTTP, Postgres."""

from __future__ import annotations

from uuid import UUID

from producers import Client
from storage.jobs.jobs import State
from tests.support.fleet import Fleet


def test_a_job_is_enqueued_claimed_called_and_paid(client: Client, fleet: Fleet, tenant: UUID) -> None:
    fleet.simulator()
    fleet.worker()
    job_id = client.enqueue(
        tenant_id=tenant,
        user_id="u-1",
        feature="support_reply",
        prompt="support_reply",
        variables={"ticket": "I was charged twice in March, please refund one.", "customer": "Ada", "product": "Desk"},
    )
    result = client.result(job_id, tenant_id=tenant, timeout=20)
    assert result.state is State.SUCCEEDED, (result, fleet.log("worker"))
    assert set(result.output_json) >= {"category", "priority", "summary", "reply"}
    (call,) = fleet.journal()
    assert result.cost_usd > 0
    with client._database.as_tenant(tenant) as connection:
        (run,) = connection.execute("select * from headrace.runs").fetchall()
    assert str(run["id"]) == call["client_request_id"]
    assert (run["input_tokens"], run["output_tokens"]) == (call["input_tokens"], call["output_tokens"])
    assert run["cost_usd"] == result.cost_usd <= run["reserved_usd"]
