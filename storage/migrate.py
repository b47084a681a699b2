"""Bring a database to this release: roles, schema, migrations, functions, grants.

The smallest runner that is safe: one transaction under one lock, so that two processes that start together
apply nothing twice and a failure leaves nothing half done. Migrations are plain SQL, applied once, in the order of
their names, and never edited afterwards (their hash is checked). Functions and grants are applied again each time.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from graphlib import TopologicalSorter
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import psycopg

from errors import MigrationError
from storage.db.connect import Connection, connect
from storage.fleet import recovery

LEAST_SERVER = 180000
_ROOMS: Final = ("db", "fleet", "money", "jobs")
_LOCK = 0x4865_6164_7261_6365  # "Headrace"
# A change of a table waits for every transaction that has touched it, and all that come later wait behind it: a
# producer that leaves its transaction open would stop everybody. So it gives way after so long, and is tried again.
_LOCKED_WITHIN_S = 2
_TRIES = 3
_PAUSE_S = 1.0
_IN_THE_WAY: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_BEFORE_THE_SQUASH: Final = "0000_basics.sql"  # the first migration of every database from before 0.1.0
# Tables of the road in the order in which its transactions lock them. A migration that took them in an order of its own
# would end in a deadlock with an enqueue, which may be part of a service's own transaction.
_LOCKS: Final = (
    "lock table headrace.tenants, headrace.jobs, headrace.queue, headrace.wakes, headrace.caps, headrace.runs"
    " in access exclusive mode"
)


_DEFINITION: Final = re.compile(r"^create or replace function ", re.MULTILINE)
_DEFINED: Final = re.compile(_DEFINITION.pattern + r"headrace\.(\w+)", re.MULTILINE)
_CALLED: Final = re.compile(r"\bheadrace\.(\w+)\(")


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a migrate did."""

    applied: tuple[str, ...]
    functions: int


def migrate(owner_url: str) -> Migrated:
    """Apply what is missing. ``owner_url`` logs in as a member of ``headrace_owner`` (or a superuser, the first time).

    Raises :class:`errors.MigrationError` (nothing was changed) or :class:`errors.PostgresUnavailableError`.
    """
    with connect(owner_url, setting="HEADRACE_OWNER_DATABASE_URL") as connection:
        if connection.info.server_version < LEAST_SERVER:
            raise MigrationError(
                "Headrace needs PostgreSQL 18 or newer",
                value=connection.info.server_version,
                hint="Point HEADRACE_OWNER_DATABASE_URL at a newer server.",
            )
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise MigrationError(
                "Headrace needs a database whose encoding is UTF8",
                value=encoding,
                hint="A database keeps its encoding: make another one with `create database … encoding 'UTF8'`.",
            )
        for left in reversed(range(_TRIES)):
            try:
                applied, functions = _in_one_transaction(connection)
                break
            except MigrationError as error:
                in_the_way = isinstance(error.__cause__, _IN_THE_WAY)
                if not in_the_way or not left:
                    raise
            time.sleep(_PAUSE_S)
        # Each in a transaction of its own, so that no lock is held until the end of a migration. What cannot be made
        # now is made by the scheduler.
        while recovery.ensure_partitions(connection).outcome == "made":
            pass
    return Migrated(tuple(applied), functions)


def _in_one_transaction(connection: Connection) -> tuple[list[str], int]:
    """The names of the migrations that were applied, and how many functions there are."""
    with connection.transaction():
        _wait_for_others(connection)
        connection.execute(f"set local lock_timeout = '{_LOCKED_WITHIN_S}s'")
        # only its own schema is ever meant: nothing may be resolved through somebody else's search_path
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute("set local client_min_messages = warning")
        _run(connection, "bootstrap.sql", _read(files("storage") / "bootstrap.sql"))
        connection.execute("set local role headrace_owner")
        applied = _apply_missing(connection)
        functions = _functions()
        # bodies that are kept as text may name functions that come later
        connection.execute("set local check_function_bodies = off")
        for name, text in functions:
            _run(connection, name, text)
        _run(connection, "grants.sql", _read(files("storage") / "grants.sql"))
        return applied, len(functions)


def pending(connection: Connection) -> list[str]:
    """Names of migrations that this release has and the database has not (all of them on an empty database)."""
    row = connection.execute("select to_regclass('headrace.schema_migrations') as there").fetchone()
    if row is None or row["there"] is None:
        return [name for name, _ in migrations()]
    done = {row["name"] for row in connection.execute("select name from headrace.schema_migrations")}
    return [name for name, _ in migrations() if name not in done]


def migrations() -> list[tuple[str, str]]:
    """The name and text of every migration of this release, in the order in which they are applied."""
    return _files(files("storage") / "migrations")


def _wait_for_others(connection: Connection) -> None:
    """Take the one lock of a migrate: of its own table, which nobody else may lock.

    The first migrate of a database has no table yet. An advisory lock does until then: it is open to every login, and
    who can log in to an empty database is the administrator's affair.
    """
    there = "select to_regclass('headrace.schema_migrations') is not null as there"
    row = connection.execute(there).fetchone()
    if row is None or not row["there"]:
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        row = connection.execute(there).fetchone()  # another one may have made it meanwhile
    if row is not None and row["there"]:
        connection.execute("lock table headrace.schema_migrations in exclusive mode")


def _apply_missing(connection: Connection) -> list[str]:
    connection.execute(
        "create table if not exists headrace.schema_migrations ("
        " name text primary key, hash text not null, applied_at timestamptz not null default clock_timestamp())"
    )
    rows = connection.execute("select name, hash from headrace.schema_migrations").fetchall()
    done: dict[str, str] = {row["name"]: row["hash"] for row in rows}
    if _BEFORE_THE_SQUASH in done:
        raise MigrationError(
            "this database was made by a version from before 0.1.0, whose migrations are no longer there",
            hint="Nothing was changed. Make a new database and migrate that one.",
        )
    if done and pending(connection):
        _run(connection, "the locks of a migration", _LOCKS)
    applied = []
    for name, text in migrations():
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name not in done:
            _run(connection, name, text)
            connection.execute("insert into headrace.schema_migrations (name, hash) values (%s, %s)", [name, digest])
            applied.append(name)
        elif done[name] != digest:
            raise MigrationError(
                f"migration {name} was edited after it had been applied",
                hint="Restore the file and put the change into a new migration.",
            )
    return applied


def _run(connection: Connection, name: str, text: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        hint = "Nothing was changed."
        if isinstance(error, _IN_THE_WAY):
            hint += " A transaction that stays open is in the way (see pg_stat_activity): end it and run this again."
        raise MigrationError(f"{name} failed: {error}", hint=hint) from error


def _functions() -> list[tuple[str, str]]:
    """Every function file of every room, each by its path.

    Postgres parses a body that is not a text (``return …``, ``begin atomic …``) when it makes the function, so the
    functions that such a body calls come before it.
    """
    rooms = [(room, _files(files("storage") / room / "functions")) for room in _ROOMS]
    texts = {f"{room}/functions/{name}": text for room, found in rooms for name, text in found}
    homes = {name: path for path, text in texts.items() for name in _DEFINED.findall(text)}
    before: dict[str, set[str]] = {path: set() for path in texts}
    for path, text in texts.items():
        for definition in _DEFINITION.split(text)[1:]:
            if "$$" not in definition:
                before[path] |= {homes[name] for name in _CALLED.findall(definition) if name in homes} - {path}
    return [(path, texts[path]) for path in TopologicalSorter(before).static_order()]


def _files(folder: Traversable) -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += [(f"{entry.name}/{name}", text) for name, text in _files(entry)]
        elif entry.name.endswith(".sql"):
            found.append((entry.name, _read(entry)))
    return sorted(found)


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")
