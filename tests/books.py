"""Do the books agree? One check of everything that a run of jobs left behind, for tests of any size."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from storage.database import Database

NEVER_SENT = ("provider_unreachable", "breaker_open")  # runs of calls that reached nobody are in no journal


def check_books(ops: Database, journal: list[dict[str, Any]] | None, *, all_ended: bool = True) -> None:
    """Assert that every job has one ending, and that ledger, runs, rollups and the provider's journal agree."""
    with ops.connection() as connection:

        def one(statement: str) -> Any:
            row = connection.execute(statement).fetchone()  # type: ignore[call-overload]
            return next(iter(row.values()))

        if all_ended:
            assert one("select count(*) from headrace.queue") == 0
            assert one("select count(*) from headrace.jobs where outcome is null") == 0
            assert one("select count(*) from headrace.runs where status = 'started'") == 0
            assert one("select count(*) from headrace.reservations") == 0
            assert one("select coalesce(sum(reserved_usd), 0) from headrace.caps") == 0
        # one ending: a queue row or an outcome, never both, never neither
        assert (
            one("select count(*) from headrace.jobs j join headrace.queue q using (id) where j.outcome is not null")
            == 0
        )
        assert (
            one(
                "select count(*) from headrace.jobs j left join headrace.queue q using (id) where j.outcome is null and q.id is null"
            )
            == 0
        )
        assert (
            one(
                "select count(*) from headrace.jobs where (outcome = 'succeeded') <> (id in (select job_id from headrace.results))"
            )
            == 0
        )
        # spend = the sum of runs, to the last digit, in every book
        total = one("select coalesce(sum(cost_usd), 0) from headrace.runs where key_owner = 'platform'")
        assert one("select coalesce(sum(cost_usd), 0) from headrace.spend_daily") == total
        for scope in ("tenant", "user", "feature"):
            assert one(f"select coalesce(sum(spent_usd), 0) from headrace.caps where scope = '{scope}'") == total
            assert (
                one(f"select coalesce(sum(spent_usd), 0) from headrace.spend_buckets where scope = '{scope}'") == total
            )
        assert isinstance(total, Decimal | int)
        assert one("select count(*) from headrace.runs where over_reserved_usd > 0") == 0
        if journal is None:
            return
        runs = {
            str(row["id"]): row
            for row in connection.execute(
                "select * from headrace.runs where coalesce(error_code, '') <> all (%s)", [list(NEVER_SENT)]
            )
        }
    known = {call["client_request_id"]: call for call in journal}
    assert len(known) == len(journal), "a call was made twice under one run"
    for run_id, call in known.items():
        run = runs[run_id]
        assert (run["provider"], run["model"]) == (call["provider"], call["model"])
        if run["status"] == "succeeded":
            assert (call["status"], call["input_tokens"], call["output_tokens"]) == (
                200, run["input_tokens"], run["output_tokens"],
            )  # fmt: skip
        elif run["status"] == "failed":
            assert (run["http_status"], run["cost_usd"]) == (call["status"], 0)
    for run_id, run in runs.items():
        # a call whose worker died before it was sent left no trace there; every known outcome did
        assert run_id in known or run["status"] == "unknown", run
