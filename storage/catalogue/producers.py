"""Logins that enqueue by SQL, bound to tenants: for each other tenant they are told that there is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql


@dataclass(frozen=True, slots=True)
class Binding:
    """A login that may enqueue for this tenant, and for no other without a row of its own."""

    login: str
    tenant_id: UUID
    tenant: str
    created_at: datetime
    exists: bool  # there is such a login on the server


def bind(connection: Connection, login: str, tenant_id: UUID, *, actor: str) -> bool:
    """Bind a login to a tenant, with an audit row; False when it was bound already."""
    facts = {"login": login, "tenant_id": tenant_id, "actor": actor}
    return connection.execute(sql("catalogue/producers", "bind"), facts).rowcount > 0


def unbind(connection: Connection, login: str, tenant_id: UUID, *, last: bool, actor: str) -> bool:
    """Take a binding away, with an audit row; False when there is none, or only the last one without ``last``."""
    facts = {"login": login, "tenant_id": tenant_id, "last": last, "actor": actor}
    return connection.execute(sql("catalogue/producers", "unbind"), facts).rowcount > 0


def list_producers(connection: Connection) -> list[Binding]:
    """Every binding, by login."""
    return [Binding(**row) for row in connection.execute(sql("catalogue/producers", "list")).fetchall()]
