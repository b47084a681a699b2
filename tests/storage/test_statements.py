"""SQL has one home: every statement has its one function and prepares; every function file is applied; migrations are
applied once, by the first process, and never edited; the names that others depend on exist."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from console.endpoints import Endpoints
from errors import MigrationError
from storage.db.connect import connect
from storage.migrate import Migrated, migrate, migrations, pending
from tests.conftest import TEMPLATE
from tests.support.fleet import Urls

STORAGE = Path(__file__).parents[2] / "storage"
QUERIES = sorted(STORAGE.glob("*/queries/*/*.sql"))
FUNCTIONS = sorted(STORAGE.glob("*/functions/*.sql"))
MIGRATIONS = tuple(file.name for file in sorted((STORAGE / "migrations").glob("*.sql")))
_numbers = itertools.count(1)


@pytest.fixture
def empty(services: Endpoints) -> Iterator[str]:
    """How the owner reaches an empty database in the tests' server."""
    name = f"empty_{next(_numbers)}"
    with psycopg.connect(services.require_owner(), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        yield make_conninfo(services.require_owner(), dbname=name)
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def schema(services: Endpoints) -> Iterator[psycopg.Connection[Any]]:
    """The fresh schema that every test's database is made of, to be read only: as the owner, without a copy."""
    with psycopg.connect(make_conninfo(services.require_owner(), dbname=TEMPLATE)) as connection:
        connection.read_only = True
        yield connection


# ------------------------------------------------------------------------------------------------------ statements


def _uses() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Every ``sql(noun, verb)`` of the project: which module and function it stands in."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for file in STORAGE.parent.rglob("*.py"):
        where = file.relative_to(STORAGE.parent)
        if where.parts[0] in (".venv", "tests", "benchmarks"):
            continue
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "sql":
                    names = [one.value for one in call.args if isinstance(one, ast.Constant)]
                    assert len(names) == 2, f"{where}: sql() wants the noun and the verb as they are"
                    found.setdefault((str(names[0]), str(names[1])), []).append((where.as_posix(), function.name))
    return found


def test_every_statement_has_its_one_function_by_its_name() -> None:
    uses = _uses()
    assert uses.keys() == {(f"{file.parts[-4]}/{file.parent.name}", file.stem) for file in QUERIES}
    for (noun, verb), where in uses.items():
        assert len(where) == 1, f"{noun}/{verb} is run from {where}"
        module, function = where[0]
        assert module == f"storage/{noun}.py"
        # where the verb alone would shadow a builtin, the noun goes with it
        assert function in (verb, f"{verb}_{noun.partition('/')[2]}"), f"{noun}/{verb} is run by {module}:{function}"


def test_no_line_of_sql_is_longer_than_120_columns() -> None:
    files = sorted(STORAGE.rglob("*.sql"))
    assert len(files) > len(QUERIES) + len(FUNCTIONS)  # migrations, grants and the roles too
    long = [
        f"{file.relative_to(STORAGE)}:{number}"
        for file in files
        if file.name != "schema.sql"  # which Postgres words
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []


def test_every_statement_says_what_it_does_first() -> None:
    for file in (*QUERIES, *FUNCTIONS):
        assert file.read_text(encoding="utf-8").startswith("-- "), file


def test_every_statement_prepares_on_a_fresh_schema(schema: psycopg.Connection[Any], subtests: pytest.Subtests) -> None:
    for file in QUERIES:
        if (file.parent.name, file.stem) == ("recovery", "vacuum_queue"):
            continue  # Postgres prepares no VACUUM; tests/promises/test_bounded_claim.py runs it
        with subtests.test(statement=f"{file.parent.name}/{file.stem}"), schema.transaction():
            schema.execute(b"prepare one as " + _numbered(file.read_text(encoding="utf-8")).encode())
            schema.execute(b"deallocate one")


def _numbered(statement: str) -> str:
    """psycopg's placeholders as Postgres's own: ``%s`` one after the other, ``%(name)s`` the same number each time."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        name = match["name"] or str(len(numbers))
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    return re.sub(r"%%|%s|%\((?P<name>\w+)\)s", number, statement.rstrip().rstrip(";"))


# ------------------------------------------------------------------------------------------------------- functions


def _defined() -> dict[str, str]:
    """The functions that the files define, and the file of each."""
    found: dict[str, str] = {}
    for file in FUNCTIONS:
        for name in re.findall(r"create or replace function headrace\.(\w+)", file.read_text(encoding="utf-8")):
            assert name not in found, f"{name} is defined in {found[name]} and in {file.name}"
            found[name] = file.name
    return found


def test_every_function_file_is_applied_and_nothing_else_is_there(schema: psycopg.Connection[Any]) -> None:
    defined = _defined()
    for file in FUNCTIONS:
        assert defined.get(file.stem) == file.name, f"{file} defines another name"
    rows = schema.execute(
        """select p.proname, r.rolname, p.prosrc, pg_get_function_sqlbody(p.oid) from pg_proc p
           join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.oid = p.proowner
           where n.nspname = 'headrace'
             and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')"""
    ).fetchall()
    basics = set(re.findall(r"create function headrace\.(\w+)", (STORAGE / "migrations" / MIGRATIONS[0]).read_text()))
    assert sorted(name for name, *_ in rows) == sorted({*defined, *basics})  # once each: no overload is left behind
    texts = {file.name: file.read_text(encoding="utf-8") for file in FUNCTIONS}
    for name, owner, source, body in rows:
        assert owner == "headrace_owner", name
        if name in defined and source:
            assert source in texts[defined[name]], f"{name} is not what {defined[name]} says"
        elif name in defined:
            assert body, name


def test_a_file_has_one_function_and_what_only_that_one_calls() -> None:
    """A reader of `headrace.x(…)` finds it in `x.sql`, but for a private helper, which stands beside its one caller."""
    callers: dict[str, set[str]] = {}
    for file in (*QUERIES, *FUNCTIONS):
        for name in re.findall(r"headrace\.(\w+)\(", file.read_text(encoding="utf-8")):
            callers.setdefault(name, set()).add(file.name)
    for name, home in _defined().items():
        assert home == f"{name}.sql" or callers[name] == {home}, (
            f"{name} is called from {callers[name]}: it is not of {home}"
        )


# ------------------------------------------------------------------------------------------------------ migrations


def test_an_empty_database_gets_everything_once(empty: str) -> None:
    with connect(empty) as connection:
        assert tuple(pending(connection)) == MIGRATIONS
    assert migrate(empty) == Migrated(MIGRATIONS, len(FUNCTIONS))
    assert migrate(empty) == Migrated((), len(FUNCTIONS))
    with connect(empty) as connection:
        assert pending(connection) == []
        rows = connection.execute("select name from headrace.schema_migrations order by name").fetchall()
    assert tuple(row["name"] for row in rows) == MIGRATIONS


def test_no_session_of_ours_works_waits_or_idles_for_ever(empty: str) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    migrate(empty)
    for role in ("headrace_app", "headrace_ops"):
        with psycopg.connect(make_conninfo(empty, user=role)) as connection:
            shown = [connection.execute("select current_setting(%s)", [name]).fetchone() for name in names]
            assert ("0",) not in shown, shown
    with psycopg.connect(empty, autocommit=True) as owner:
        name = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("alter role headrace_app in database {} set lock_timeout = '3s'").format(name))
        migrate(empty)
    with psycopg.connect(make_conninfo(empty, user="headrace_app")) as connection:
        assert connection.execute("show lock_timeout").fetchone() == ("3s",), "what an administrator has set is left"


def test_two_processes_that_migrate_at_once_both_succeed(empty: str) -> None:
    code = "import sys; from storage.migrate import migrate; print(len(migrate(sys.argv[1]).applied))"
    both = [
        subprocess.Popen([sys.executable, "-c", code, empty], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(int(out) for out, _ in said) == [0, len(MIGRATIONS)]


def test_an_edited_migration_is_refused_and_nothing_is_changed(urls: Urls) -> None:
    edited = MIGRATIONS[-1]
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        # as if this text, and not the file's, had been applied: what an edit afterwards looks like
        connection.execute("update headrace.schema_migrations set hash = md5(hash) where name = %s", [edited])
        connection.execute("drop function headrace.max_input_bytes")
        with pytest.raises(MigrationError, match=f"{edited} was edited") as refused:
            migrate(urls.owner)
        assert "new migration" in (refused.value.hint or "")
        assert connection.execute("select to_regproc('headrace.max_input_bytes')").fetchone() == (None,)


def test_a_migration_that_fails_leaves_nothing_half_done(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("create schema headrace")
        connection.execute("create table headrace.chunks (id integer)")  # in the way of a migration
        connection.execute("grant all on schema headrace to public")
        with pytest.raises(MigrationError, match=r"0014_chunks\.sql failed"):
            migrate(empty)
        there = connection.execute(
            "select relname from pg_class where relnamespace = 'headrace'::regnamespace and relkind in ('r', 'p')"
        ).fetchall()
        assert there == [("chunks",)]


def test_a_database_from_before_the_squash_is_refused_and_left_as_it_is(urls: Urls) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("delete from headrace.schema_migrations")
        connection.execute("insert into headrace.schema_migrations (name, hash) values ('0000_basics.sql', '')")
        connection.execute("drop function headrace.max_input_bytes")

        with pytest.raises(MigrationError, match=r"before 0\.1\.0") as refused:
            migrate(urls.owner)

        assert "Make a new database" in (refused.value.hint or "")
        there = connection.execute("select name from headrace.schema_migrations").fetchall()
        assert there == [("0000_basics.sql",)]
        assert connection.execute("select to_regproc('headrace.max_input_bytes')").fetchone() == (None,)


def test_a_migration_gives_way_to_a_transaction_that_stays_open(
    urls: Urls, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All later transactions stand behind one that waits for a table: they would wait for the forgotten one too."""
    message = '[{"role": "user", "content": "Hi"}]'
    enqueue = f"select headrace.enqueue('{tenant}', 'u', 'chat', messages => '{message}')"
    next_release = [*migrations(), ("0999_next.sql", "alter table headrace.queue add column of_next integer")]
    monkeypatch.setattr("storage.migrate.migrations", lambda: next_release)
    with psycopg.connect(urls.producer) as forgotten, psycopg.connect(urls.producer, autocommit=True) as other:
        forgotten.execute(enqueue)
        with ThreadPoolExecutor(1) as threads:
            migrating = threads.submit(migrate, urls.owner)
            try:
                with pytest.raises(MigrationError, match="lock timeout") as refused:
                    migrating.result(timeout=60)
            finally:
                forgotten.rollback()
        assert "run this again" in (refused.value.hint or "")
        other.execute(enqueue)
    assert migrate(urls.owner).applied == ("0999_next.sql",)


def test_a_second_release_finds_its_functions_replaced(urls: Urls) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute(
            "create or replace function headrace.max_input_bytes() returns integer language sql return 1"
        )
        migrate(urls.owner)
        assert connection.execute("select headrace.max_input_bytes()").fetchone() == (400_000,)


# ------------------------------------------------------------------------------------------------- the stable names

RUNS = """id job_id tenant_id user_id feature prompt_id kind provider model input_tokens cached_input_tokens
    output_tokens cost_usd reserved_usd latency_ms status key_owner route_rule provider_request_id created_at
    settled_at"""
STABLE = {
    "tenants": "id external_id name plan daily_cost_cap_usd",
    "job_status": "id tenant_id user_id feature lane state reason attempts run_at deadline created_at ended_at",
    "runs": RUNS,
    "prompts": "id tenant_id name version",
    **dict.fromkeys(
        ["jobs", "queue", "results", "model_prices", "reservations", "caps", "slots", "wakes", "workers", "outbox"], ""
    ),
    **dict.fromkeys(["audit", "chunks", "provider_keys", "prompt_pointers", "prompt_history"], ""),
}


def test_the_names_that_others_lean_on_exist(schema: psycopg.Connection[Any]) -> None:
    rows = schema.execute(
        """select c.relname, a.attname, format_type(a.atttypid, null) from pg_attribute a
           join pg_class c on c.oid = a.attrelid
           where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v')
             and a.attnum > 0 and not a.attisdropped"""
    ).fetchall()
    there: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        there.setdefault(table, {})[column] = kind
    for table, columns in STABLE.items():
        assert table in there, table
        assert not set(columns.split()) - there[table].keys(), table
    assert {there["tenants"][name] for name in ("external_id", "name", "plan")} == {"text"}
    assert there["tenants"]["id"] == there["runs"]["id"] == there["job_status"]["id"] == "uuid"
    assert (
        there["tenants"]["daily_cost_cap_usd"]
        == there["runs"]["cost_usd"]
        == there["runs"]["reserved_usd"]
        == "numeric"
    )
    assert there["job_status"]["user_id"] == there["runs"]["user_id"] == "text"


def test_the_allowed_words_are_those_of_the_interface(schema: psycopg.Connection[Any]) -> None:
    checks = schema.execute(
        """select pg_get_constraintdef(c.oid) from pg_constraint c
           where c.conrelid = 'headrace.runs'::regclass and c.contype = 'c'"""
    ).fetchall()
    words = {frozenset(re.findall(r"'(\w+)'::text", text)) for (text,) in checks}
    assert {"answer", "classify", "judge", "embed"} in words
    assert {"started", "succeeded", "failed", "unknown"} in words


def test_the_keys_indexes_and_partitions_are_those_of_the_interface(schema: psycopg.Connection[Any]) -> None:
    indexes = "\n".join(
        row[0] for row in schema.execute("select indexdef from pg_indexes where schemaname = 'headrace'").fetchall()
    )
    keys = schema.execute(
        """select c.relname, pg_get_constraintdef(k.oid) from pg_constraint k join pg_class c on c.oid = k.conrelid
           where c.relnamespace = 'headrace'::regnamespace and k.contype in ('p', 'f', 'u')
             and not c.relispartition"""
    ).fetchall()
    partitioned = schema.execute(
        """select c.relname, pg_get_partkeydef(c.oid), count(i.*) > 1,
                  bool_or(pg_get_expr(p.relpartbound, p.oid) = 'DEFAULT')
           from pg_class c join pg_inherits i on i.inhparent = c.oid join pg_class p on p.oid = i.inhrelid
           where c.relnamespace = 'headrace'::regnamespace and c.relkind = 'p'
           group by c.oid, c.relname order by 1"""
    ).fetchall()
    assert "ON ONLY headrace.runs USING btree (tenant_id, created_at DESC)" in indexes
    assert "ON ONLY headrace.runs USING btree (tenant_id, user_id, created_at DESC)" in indexes
    assert ("prompts", "UNIQUE NULLS NOT DISTINCT (tenant_id, name, version)") in keys
    primary = {table: key for table, key in keys if key.startswith("PRIMARY")}
    for table in ("jobs", "queue", "runs", "outbox", "provider_keys", "chunks"):
        assert primary[table] == "PRIMARY KEY (id, tenant_id)"
    assert primary["results"] == "PRIMARY KEY (job_id, tenant_id)"
    # the books outlive the jobs: neither runs nor results refer to them
    foreign = {table for table, key in keys if key.startswith("FOREIGN")}
    assert "jobs" in foreign and not foreign & {"runs", "results", "queue"}
    assert partitioned == [("jobs", "RANGE (id)", True, True), ("runs", "RANGE (id)", True, True)]


def test_enqueue_keeps_its_arguments(schema: psycopg.Connection[Any]) -> None:
    row = schema.execute("select pg_get_function_arguments('headrace.enqueue'::regproc)").fetchone()
    assert row is not None
    assert [argument.split()[:2] for argument in row[0].split(", ")] == [
        ["tenant_id", "uuid"], ["user_id", "text"], ["feature", "text"], ["prompt", "text"], ["variables", "jsonb"],
        ["messages", "jsonb"], ["context", "jsonb"], ["output_schema", "jsonb"], ["max_output_tokens", "integer"],
        ["lane", "text"], ["idempotency_key", "text"], ["run_at", "timestamp"], ["deadline", "timestamp"],
        ["on_over_budget", "text"], ["on_unknown", "text"], ["force_tier", "text"], ["metadata", "jsonb"],
        ["id", "uuid"], ["estimated_tokens", "bigint"],
    ]  # fmt: skip


def test_what_asks_for_a_job_asks_for_its_tenant_too() -> None:
    """An id belongs to one tenant, and no statement leans on that: each but the look-up of the tenant names it."""
    asks = re.compile(r".*\b(?:id|job_id) = (?:%\(job_id\)s|p_job)\b.*")
    found: dict[str, list[bool]] = {}
    for file in (*QUERIES, *FUNCTIONS):
        for line in asks.findall(file.read_text()):
            found.setdefault(file.relative_to(STORAGE).as_posix(), []).append("tenant_id = " in line)
    assert {name for name, told in found.items() if not all(told)} == set()
    assert {
        "jobs/queries/jobs/show.sql",
        "jobs/queries/jobs/history.sql",
        "jobs/queries/why/job.sql",
        "money/queries/runs/of_job.sql",
        "jobs/functions/cancel.sql",
    } <= set(found)
