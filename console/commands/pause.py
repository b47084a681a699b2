"""``headrace pause``: pause a tenant, a feature or a lane; without one, list what is paused."""

from __future__ import annotations

from dataclasses import asdict

from console import pausing
from console.connect import DATABASE, connect
from console.pausing import Feature, Lane, Tenant
from console.terminal.output import Json, note, print_json, print_table, say
from settings import Settings
from storage.db.session import operator_session
from storage.fleet import pauses


def pause(tenant: Tenant = None, feature: Feature = None, lane: Lane = None, as_json: Json = False) -> None:
    """Pause a tenant, feature or lane; without one, list what is paused.

    None of its jobs is claimed any more. Running jobs go on, and new jobs are still accepted. It is written to the
    audit.
    """
    meant = pausing.meant(tenant=tenant, feature=feature, lane=lane)
    with connect(Settings(), DATABASE) as services:
        if meant is None:
            _list(services.require_ops(), as_json=as_json)
            return
        done = pausing.pause(services, *meant)
    if as_json:
        print_json({**asdict(done.what), "changed": done.changed})
    else:
        say(f"{done.what.kind} {done.what.name} {'is paused' if done.changed else 'was paused already'}")


def _list(ops_url: str, *, as_json: bool) -> None:
    with operator_session(ops_url) as connection:
        found = pauses.list_pauses(connection)
    if as_json:
        print_json({"paused": [asdict(one) for one in found]})
    elif found:
        print_table(
            ["what", "name", "id", "since (UTC)"],
            [(one.kind, one.name, one.key if one.key != one.name else None, one.paused_at) for one in found],
        )
    else:
        note("nothing is paused")
