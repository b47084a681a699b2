"""The wire: whether it takes an offer, and whether it could evict one."""

from __future__ import annotations

from collections.abc import Iterator

from console.composition import wire_from
from console.doctor.finding import Finding, milliseconds
from console.doctor.wire_trial import try_turn
from console.endpoints import Endpoints
from settings import Settings


def examine(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """Check its server, offer a turn and take one."""
    wire = wire_from(settings, services)
    try:
        facts = wire.facts()
    finally:
        wire.close()
    whose = "private" if "redis" in services.embedded and settings.broker_url is None else "own"
    eviction = "" if facts.eviction is None else f"{facts.eviction}; "
    says = f"{facts.server} ({whose}) at {facts.url}; {eviction}round trip {milliseconds(facts.round_trip_s)}"
    try_turn(services.broker_url, lanes=settings.lane_weights, setting=services.wire_setting)
    says += "; it took an offer and gave a turn"
    if facts.eviction in (None, "noeviction"):
        yield Finding("wire", "ok", says)
    elif facts.eviction == "unknown":
        yield Finding("wire", "note", says, "It does not report its maxmemory-policy, which should be noeviction.")
    else:
        to_do = "Set maxmemory-policy to noeviction: a tenant whose turns are evicted waits for the sweep."
        yield Finding("wire", "wrong", says, to_do)
