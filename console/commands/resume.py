"""``headrace resume``: resume a paused tenant, feature or lane."""

from __future__ import annotations

from dataclasses import asdict

from console import pausing
from console.connect import DATABASE_AND_WIRE, connect
from console.pausing import Feature, Lane, Tenant
from console.terminal.output import Json, print_json, say
from errors import InvalidInputError
from settings import Settings


def resume(tenant: Tenant = None, feature: Feature = None, lane: Lane = None, as_json: Json = False) -> None:
    """Resume a paused tenant, feature or lane.

    Its waiting jobs are offered to workers at once. It is written to the audit.
    """
    meant = pausing.meant(tenant=tenant, feature=feature, lane=lane)
    if meant is None:
        hint = "Give --tenant, --feature or --lane; `headrace pause` lists what is paused."
        raise InvalidInputError("nothing to resume", field="tenant", hint=hint)
    settings = Settings()
    with connect(settings, DATABASE_AND_WIRE) as services:
        done = pausing.resume(settings, services, *meant)
    if as_json:
        print_json({**asdict(done.what), "changed": done.changed})
    else:
        say(f"{done.what.kind} {done.what.name} {'goes on' if done.changed else 'was not paused'}")
