"""What an error of Postgres means: waited for, tried again, or raised at once."""

from __future__ import annotations

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg
import pytest

from errors import PostgresUnavailableError, StatementError, StatementFailedError, StatementRefusedError
from storage.db import database as patience
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.session import session
from storage.db.sqlstates import TABLE, Meaning, meaning, reading
from tests.support.fleet import Urls, eventually
from tests.support.read_only_postgres import read_only

MEANINGS = {
    Meaning.OUTAGE: "08006 08P01 25006 25P03 53000 53100 53300 57P01 57P02 57P03 57P05 58030 58P01",
    Meaning.STRAIN: "25P04 26000 42P05 53200 53400 57014 XX000 XX001",
    Meaning.IN_THE_WAY: "40001 40P01 55P03",
    Meaning.FAULT: "0A000 21000 22P02 22021 23505 23514 25P02 40002 42501 42883 54000 54001 55000 P0001",
    Meaning.REFUSAL: "HR400 HR409 HR500",
}
CODES = [(code, meant) for meant, codes in MEANINGS.items() for code in codes.split()]


def says(connection: Connection, sqlstate: str) -> None:
    """Postgres itself raises an error with this code."""
    connection.execute(f"do $$ begin raise exception 'Mr Smith' using errcode = '{sqlstate}'; end $$")


@pytest.mark.parametrize(("code", "meant"), CODES)
def test_each_code_has_its_meaning(app: Database, code: str, meant: Meaning) -> None:
    with app.connection() as connection, pytest.raises(psycopg.Error) as raised:
        says(connection, code)
    assert meaning(raised.value) is meant


def test_the_table_has_one_line_for_each_code() -> None:
    prefixes = [row.prefix for row in TABLE]
    assert len(prefixes) == len(set(prefixes))
    assert {len(prefix) for prefix in prefixes} == {0, 2, 5}


def test_a_plan_from_before_a_migration_is_made_anew(app: Database, urls: Urls) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner, app.connection() as connection:
        owner.execute("create table public.t (a integer); grant select on public.t to public")
        connection.execute("prepare p as select * from public.t")
        owner.execute("alter table public.t add column b integer")
        with pytest.raises(psycopg.errors.FeatureNotSupported) as raised:
            connection.execute("execute p")
    assert reading(raised.value).meaning is Meaning.STRAIN
    assert reading(raised.value).anew


# ------------------------------------------------------------------------------------------------------------- patience


def tries_of(database: Database, sqlstate: str, **patience: float) -> tuple[int, StatementError | Exception]:
    """How often a step is tried that Postgres answers so, and what is raised in the end."""
    backends = []

    def step(connection: Connection) -> None:
        backends.append(connection.info.backend_pid)
        says(connection, sqlstate)

    with pytest.raises(Exception, match=r".") as raised:
        database.retry_until_answered(step, **patience)
    return len(backends), raised.value


@pytest.mark.parametrize("code", ["54000", "54001", "22P02", "23505", "42501", "P0001"])
def test_a_fault_is_raised_at_once_and_typed(app: Database, code: str) -> None:
    tries, error = tries_of(app, code)
    assert tries == 1
    assert isinstance(error, StatementRefusedError)
    assert error.details["sqlstate"] == code
    assert "does not answer" not in str(error)


@pytest.mark.parametrize("code", ["22P02", "23505", "P0001"])
def test_a_fault_does_not_tell_what_the_statement_carried(app: Database, code: str) -> None:
    _, error = tries_of(app, code)
    assert "Smith" not in "".join(traceback.format_exception(error))


def test_a_statement_that_is_too_large_is_no_outage(app: Database) -> None:
    """Really: nested deeper than Postgres reads."""
    with pytest.raises(StatementRefusedError, match="54001"):
        app.retry_until_answered(lambda connection: connection.execute("select repeat('[', 1000000)::jsonb"))


@pytest.mark.parametrize("code", ["25006", "53100", "53300", "53200", "57014", "40001", "55P03", "XX000"])
def test_what_may_pass_is_repeated(app: Database, code: str) -> None:
    tries, error = tries_of(app, code, within_s=0.3)
    assert tries > 2
    assert isinstance(error, PostgresUnavailableError)
    assert error.details["sqlstate"] == code


def test_a_strain_is_not_repeated_for_ever(app: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that is always over an administrator's time limit must not hold its thread until the end of days."""
    monkeypatch.setattr(patience, "_STRAIN_S", 0.3)
    tries, error = tries_of(app, "57014")
    assert tries > 2
    assert isinstance(error, StatementFailedError)


def test_a_pool_that_was_closed_is_not_waited_for(urls: Urls) -> None:
    database = Database(urls.app)
    database.close()
    with pytest.raises(PostgresUnavailableError):
        database.retry_until_answered(lambda connection: connection.execute("select 1"))


def test_a_read_only_postgres_is_waited_for_and_then_met_anew(urls: Urls) -> None:
    """The connections that are read-only may belong to a primary that is one no longer."""
    backends = []

    def write(connection: Connection) -> str:
        backends.append(connection.info.backend_pid)
        connection.execute(
            "insert into headrace.workers (id, host, pid, threads) values (gen_random_uuid(), 'h', 1, 1)"
        )
        return "written"

    with Database(urls.ops, connections=1) as ops, ThreadPoolExecutor() as threads:
        with read_only(urls.owner):
            waiting = threads.submit(ops.retry_until_answered, write)
            eventually(lambda: len(backends) > 3, why="it is repeated")
        assert waiting.result() == "written"
    assert all(one != other for one, other in pairwise(backends)), "no read-only connection is kept"


def test_a_person_is_told_that_it_is_read_only(urls: Urls) -> None:
    with read_only(urls.owner), pytest.raises(PostgresUnavailableError, match="read-only"), session(urls.ops) as ops:
        ops.execute("delete from headrace.wakes")


def test_giving_up_ends_the_patience_with_a_read_only_postgres(urls: Urls) -> None:
    give_up = threading.Event()
    give_up.set()
    with read_only(urls.owner), Database(urls.ops) as ops, pytest.raises(PostgresUnavailableError):
        ops.retry_until_answered(lambda connection: connection.execute("delete from headrace.wakes"), give_up=give_up)
