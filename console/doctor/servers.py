"""Postgres, as each of the three roles: the login, the server, and what a scheduler prepares in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from console.doctor import processes
from console.doctor.finding import Finding, milliseconds
from console.endpoints import Endpoints
from console.provisioning import routed_models
from redaction import without_password
from router.policy import load_policy
from settings import Settings
from storage.db import logins
from storage.db.connect import Connection
from storage.db.session import OPERATOR, OWNER, session
from storage.fleet import health
from storage.fleet.health import ServerFacts
from storage.migrate import LEAST_SERVER, pending

MOST_CLOCK_DIFFERENCE_S = 5.0
LEAST_MONTHS_AHEAD = 2
_SLOW_S = 0.02


def app(services: Endpoints) -> Iterator[Finding]:
    """The database as the application, and the clocks."""
    part = "database (app)"
    with session(services.database_url) as connection:
        facts = health.server(connection)
        yield _server(part, services.database_url, facts, connection, embedded="postgres" in services.embedded)
        yield from _login(part, connection, "HEADRACE_DATABASE_URL", "headrace_app")
        yield clock(facts)


def ops(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """The database as operators, and all that only this role sees."""
    part = "database (ops)"
    url = services.require_ops()
    with session(url, setting=OPERATOR) as connection:
        facts = health.server(connection)
        yield _server(part, url, facts, connection, embedded="postgres" in services.embedded)
        yield from _login(part, connection, "HEADRACE_OPS_DATABASE_URL", "headrace_ops")
        if not facts.operator:
            return
        missing = pending(connection)
        if missing:
            yield Finding("migrations", "wrong", f"pending: {', '.join(missing)}", "Run `headrace migrate`.")
            return
        yield Finding("migrations", "ok", "none is pending")
        yield calendar(connection)
        yield _prices(settings, connection)
        yield from processes.examine(settings, connection)


def owner(services: Endpoints) -> Iterator[Finding]:
    """The database as its owner."""
    part = "database (owner)"
    url = services.owner_database_url
    if url is None:
        yield Finding(part, "note", "HEADRACE_OWNER_DATABASE_URL is not set; only `headrace migrate` needs it")
        return
    with session(url, setting=OWNER) as connection:
        facts = health.server(connection)
        yield _server(part, url, facts, connection, embedded="postgres" in services.embedded)
        if not facts.owner:
            yield Finding(
                part,
                "wrong",
                f"the role {facts.role} is not a member of headrace_owner",
                f"Grant it, as an administrator: grant headrace_owner to {facts.role};",
            )


def _server(part: str, url: str, facts: ServerFacts, connection: Connection, *, embedded: bool) -> Finding:
    trip_s = health.round_trip_s(connection)
    whose = "private" if embedded else "own"
    says = (
        f"PostgreSQL {facts.version} ({whose}) as {facts.role} at {without_password(url)}; "
        f"pgvector {facts.vector_version or 'missing'}; round trip {milliseconds(trip_s)}"
    )
    if facts.version_number < LEAST_SERVER:
        return Finding(part, "wrong", says, "Headrace needs PostgreSQL 18 or newer.")
    if facts.vector_version is None:
        return Finding(part, "wrong", says, "Install pgvector on the server, then run `headrace migrate`.")
    if trip_s > _SLOW_S:
        return Finding(part, "note", says, "A job makes four short transactions: bring the database nearer.")
    return Finding(part, "ok", says)


def _login(part: str, connection: Connection, setting: str, role: str) -> Iterator[Finding]:
    for one in logins.excess(connection, role=role):
        yield Finding(part, "wrong", one.says, f"{one.to_do} {setting} logs in as {role}.")


def clock(facts: ServerFacts) -> Finding:
    """The difference between the clocks."""
    difference_s = abs((facts.clock - datetime.now(UTC)) / timedelta(seconds=1))
    says = f"Postgres and this machine differ by {difference_s:.2f} s"
    if difference_s > MOST_CLOCK_DIFFERENCE_S:
        return Finding("clock", "wrong", says, "Synchronise both by NTP: ids and deadlines are made by this clock.")
    return Finding("clock", "ok", says)


def calendar(connection: Connection) -> Finding:
    """Whether the partitions of the coming months exist."""
    found = health.calendar(connection)
    says = f"partitions exist for {found.months_ahead} months ahead"
    if found.default_bytes:
        says += f"; the default partitions hold {found.default_bytes / 1e6:.1f} MB"
    if found.months_ahead < LEAST_MONTHS_AHEAD:
        to_do = "Is a scheduler running? It makes them; its event scheduler.partitions_missing says what prevents it."
        return Finding("calendar", "wrong", says, to_do)
    return Finding("calendar", "ok", says)


def _prices(settings: Settings, connection: Connection) -> Finding:
    models = sorted(routed_models(load_policy(settings.routing_policy)))
    unpriced = health.unpriced(connection, models)
    if unpriced:
        names = ", ".join(f"{provider}:{model}" for provider, model in unpriced)
        return Finding("prices", "wrong", f"no price for {names}: its jobs are rejected", "Run `headrace migrate`.")
    return Finding("prices", "ok", f"all {len(models)} models of the routing policy are priced")
