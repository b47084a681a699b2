"""What operators hold back: a tenant, a feature or a lane. Jobs still come in and wait; what runs goes on.

Claims and the sweep read the pauses fresh, so a pause is in effect at the next claim. Everything here works as
headrace_ops.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.catalogue import policy, tenants
from storage.db.connect import Connection
from storage.db.statements import sql
from storage.fleet.recovery import Turns, by_lane


class PausableKind(StrEnum):
    """What can be paused. A feature and a lane are paused for all tenants."""

    TENANT = "tenant"  # the key is its id
    FEATURE = "feature"  # the key is its name
    LANE = "lane"  # the key is its name


@dataclass(frozen=True, slots=True)
class Pausable:
    """One thing that can be paused, known to exist."""

    kind: PausableKind
    key: str
    name: str  # for people


@dataclass(frozen=True, slots=True)
class Pause:
    """One thing that is paused."""

    kind: PausableKind
    key: str
    name: str
    paused_at: datetime


def resolve(connection: Connection, kind: PausableKind, given: str) -> Pausable:
    """What is meant: a tenant by id, external id or name, a feature or lane by its name.

    :raises UnknownTenantError, UnknownFeatureError, UnknownLaneError: there is no such thing.
    :raises InvalidInputError: several tenants have that name.
    """
    if kind is PausableKind.TENANT:
        tenant = tenants.resolve(connection, given)
        return Pausable(kind, str(tenant.id), tenant.name)
    known = policy.known_feature if kind is PausableKind.FEATURE else policy.known_lane
    name = known(connection, given, retired=True)  # a retired one counts: its old jobs wait
    return Pausable(kind, name, name)


def pause(connection: Connection, what: Pausable, *, actor: str) -> bool:
    """Hold it back from the next claim on; False when it was paused already. An audit row if it changed."""
    facts = {"kind": what.kind, "key": what.key, "target": _target(what), "actor": actor}
    return connection.execute(sql("fleet/pauses", "pause"), facts).rowcount > 0


def resume(connection: Connection, what: Pausable, *, actor: str) -> bool:
    """Let it go on; False when it was not paused. An audit row if it changed.

    After the commit, put :func:`turns` on the wire; the sweep does so within a second if that is lost.
    """
    facts = {"kind": what.kind, "key": what.key, "target": _target(what), "actor": actor}
    return connection.execute(sql("fleet/pauses", "resume"), facts).rowcount > 0


def list_pauses(connection: Connection) -> list[Pause]:
    """All that is paused, the longest first."""
    rows = connection.execute(sql("fleet/pauses", "list")).fetchall()
    return [Pause(PausableKind(row["kind"]), row["key"], row["name"], row["paused_at"]) for row in rows]


def turns(connection: Connection, what: Pausable, *, turns_per_tenant: int) -> Turns:
    """The turns that the wire should hold of what was resumed; of a feature, of all tenants."""
    facts = {"kind": what.kind, "key": what.key, "turns_per_tenant": turns_per_tenant}
    return by_lane(connection.execute(sql("fleet/pauses", "turns"), facts).fetchall())


def _target(what: Pausable) -> str:
    """What the audit calls it: the audit row of a tenant's pause has its id in a column of its own."""
    return "tenant" if what.kind is PausableKind.TENANT else f"{what.kind}:{what.key}"
