"""Does the system keep its promises? Each check is read from one snapshot of the database, as headrace_ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from storage.db.connect import Connection
from storage.db.statements import sql

BOOK_CHECKS = (
    "one_state",
    "no_orphan_queue_row",
    "one_result",
    "result_has_its_run",
    "result_is_of_the_last_claim",
    "unknown_call_costs_its_reservation",
    "reservation_has_a_live_claim",
    "open_call_has_a_live_claim",
    "caps_hold_what_is_reserved",
    "ledger_equals_runs",
    "window_equals_buckets",
    "rollup_equals_runs",
    "billing_equals_runs",
    "taken_slot_has_a_live_claim",
    "cap_has_its_slots",
    "running_job_holds_its_slots",
    "no_cap_is_passed",
    "limit_is_of_a_composed_id",
)
"""What ``storage/fleet/queries/audit/findings.sql`` checks: the database by itself."""

CALL_CHECKS = (
    "call_has_a_run",
    "call_made_once",
    "run_equals_its_call",
    "unknown_call_was_reserved",
    "known_run_reached_the_provider",
)
"""What ``storage/fleet/queries/audit/calls.sql`` checks: the runs against a provider's own journal."""

CHECKS = BOOK_CHECKS + CALL_CHECKS


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One breach of a promise."""

    check: str
    tenant_id: UUID | None
    subject: str | None
    facts: Mapping[str, Any]


def findings(connection: Connection) -> list[AuditFinding]:
    """Every breach that the database can tell by itself."""
    return _read(connection.execute(sql("fleet/audit", "findings")).fetchall())


def calls(connection: Connection, journal: Sequence[Mapping[str, Any]]) -> list[AuditFinding]:
    """Every breach between the runs and a provider's own journal of calls."""
    return _read(connection.execute(sql("fleet/audit", "calls"), [Jsonb(list(journal))]).fetchall())


def _read(rows: Sequence[Mapping[str, Any]]) -> list[AuditFinding]:
    return [
        AuditFinding(
            row["check"], row["tenant_id"], None if row["subject"] is None else str(row["subject"]), row["facts"]
        )
        for row in rows
    ]
