"""Whether a process that is to run for long can work at all: checked once, before it starts."""

from __future__ import annotations

from console.composition import wire_from
from console.endpoints import Endpoints
from errors import MigrationError
from settings import Settings
from storage.db.logins import refuse_unsafe_role
from storage.db.session import OPERATOR, session
from storage.migrate import pending


def check_ready(settings: Settings, services: Endpoints) -> None:
    """Make sure that a process can work: both roles log in and are safe, the schema is ours, the wire answers.

    :raises PostgresUnavailableError: a database URL leads nowhere.
    :raises UnsafeRoleError: a role could bypass row-level security.
    :raises MigrationError: migrations are pending.
    :raises RedisUnavailableError: the wire does not answer.
    """
    with session(services.database_url) as connection:
        refuse_unsafe_role(connection)
    with session(services.require_ops(), setting=OPERATOR) as connection:
        refuse_unsafe_role(connection, setting=OPERATOR, role="headrace_ops")
        missing = pending(connection)
    if missing:
        raise MigrationError(f"migrations are pending: {', '.join(missing)}", hint="Run `headrace migrate` first.")
    wire = wire_from(settings, services)
    try:
        wire.facts()
    finally:
        wire.close()
