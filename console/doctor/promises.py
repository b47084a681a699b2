"""The checks of ``headrace doctor --audit``: every promise, on the live data. Reads only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from console.composition import wire_from
from console.doctor.finding import Finding
from console.endpoints import Endpoints
from queues.turns import Wire
from settings import Settings
from storage.db.connect import Connection
from storage.db.session import operator_session
from storage.fleet import audit, recovery

A_SWEEP_S = 1.5  # the sweep runs every second: a turn that is missing for longer than this is lost
_SHOWN = 5


def examine_promises(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """Check the books, the wire and, where it can be read, the provider's journal against the promises."""
    with operator_session(services.require_ops()) as connection:
        breaches = audit.findings(connection)
        journal = None if services.simulator_url is None else _journal(services.simulator_url)
        if journal is not None:
            breaches += audit.calls(connection, journal)
        yield from _by_check(breaches, with_journal=journal is not None)
        yield _turns(settings, services, connection)


def _by_check(breaches: Sequence[audit.AuditFinding], *, with_journal: bool) -> Iterator[Finding]:
    found: dict[str, list[audit.AuditFinding]] = defaultdict(list)
    for breach in breaches:
        found[breach.check].append(breach)
    for check in audit.CHECKS if with_journal else audit.BOOK_CHECKS:
        if not found[check]:
            yield Finding(check, "ok", "holds")
            continue
        shown = "; ".join(
            f"tenant {one.tenant_id} {one.subject or ''} {json.dumps(one.facts)}" for one in found[check][:_SHOWN]
        )
        yield Finding(
            check,
            "wrong",
            f"{len(found[check])} breaches: {shown}",
            "This is a bug in Headrace. Keep the database as it is and report the bug with these facts.",
        )


def _journal(simulator_url: str) -> list[dict[str, Any]] | None:
    try:
        with urllib.request.urlopen(f"{simulator_url}/_sim/journal", timeout=30) as response:  # noqa: S310
            return list(json.load(response))
    except (urllib.error.URLError, TimeoutError):
        return None  # the simulator does not run now: the books are checked all the same


def _turns(settings: Settings, services: Endpoints, connection: Connection) -> Finding:
    """Queued work of a tenant that has no turn and runs nothing, twice in a row with a sweep in between."""
    wire = wire_from(settings, services)
    try:
        if not wire.counts:
            says = "this wire cannot say which tenants have turns; its sweep counts running jobs instead"
            return Finding("no_turn_is_missing", "note", says)
        missing = _without_turn(connection, wire)
        if missing:
            time.sleep(A_SWEEP_S)
            missing &= _without_turn(connection, wire)
    finally:
        wire.close()
    if not missing:
        return Finding("no_turn_is_missing", "ok", "holds")
    named = ", ".join(sorted(f"{tenant} ({lane})" for lane, tenant in missing))
    return Finding(
        "no_turn_is_missing",
        "wrong",
        f"{len(missing)} tenants have queued work and no turn: {named[:500]}",
        "Is a scheduler running? Its sweep offers what is missing every second.",
    )


def _without_turn(connection: Connection, wire: Wire) -> set[tuple[str, str]]:
    wanted = recovery.turns_wanted(connection, turns_per_tenant=1)
    idle = recovery.without_claim(connection)
    return {
        (lane, str(tenant))
        for lane, turns in wanted.items()
        if lane in wire.lanes
        for tenant in turns
        if (lane, tenant) in idle and str(tenant) not in wire.outstanding(lane)
    }
