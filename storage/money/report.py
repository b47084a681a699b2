"""What an owner wants to see of some tenants' jobs, as headrace_ops. docs/how-to/read-spend.md shows each statement."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from storage.db.connect import Connection
from storage.db.statements import sql

Rows = list[dict[str, Any]]


def by_tenant(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """Jobs, endings, waits (s) and cost (USD) of each tenant."""
    return connection.execute(sql("money/report", "by_tenant"), [list(tenants)]).fetchall()


def by_feature(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """Calls, tokens and cost (USD) of each feature."""
    return connection.execute(sql("money/report", "by_feature"), [list(tenants)]).fetchall()


def by_model(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """Calls by how they went, and cost (USD) of each model."""
    return connection.execute(sql("money/report", "by_model"), [list(tenants)]).fetchall()


def by_user(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """The users who spent most (USD)."""
    return connection.execute(sql("money/report", "by_user"), [list(tenants)]).fetchall()


def routing(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """Jobs by tier and rule."""
    return connection.execute(sql("money/report", "routing"), [list(tenants)]).fetchall()


def fallbacks(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """Jobs that the backup provider answered, and why."""
    return connection.execute(sql("money/report", "fallbacks"), [list(tenants)]).fetchall()


def answers(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """One answer of each feature, with its question, model and cost (USD)."""
    return connection.execute(sql("money/report", "answers"), [list(tenants)]).fetchall()


def progress(connection: Connection, tenants: Sequence[UUID]) -> Rows:
    """How many jobs of each tenant are in each state."""
    return connection.execute(sql("money/report", "progress"), [list(tenants)]).fetchall()


def books(connection: Connection, tenants: Sequence[UUID]) -> dict[str, Decimal]:
    """The same spend (USD) as three books have it, and what is still reserved."""
    row = connection.execute(sql("money/report", "books"), {"tenants": list(tenants)}).fetchone()
    assert row is not None, "an aggregate returns a row"
    return row
