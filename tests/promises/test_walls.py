"""No wall between tenants can be taken down without a test that turns red.

The walls are read off the catalogue (tenant_walls.py). Then each is taken down in turn, on a database of this test's
own, in a transaction that is rolled back: the policies, FORCE and row security of each table and partition, each
privilege that is not given, EXECUTE of each function, what shuts those that run as their owner, foreign keys, and
each predicate in the functions' texts that names the tenant. A mutant that nothing notices fails. `make mutants`
plays all and prints their names; the suite plays a share, by a seed.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from console.endpoints import Endpoints
from tests.conftest import TEMPLATE
from tests.support import tenant_walls
from tests.support.tenant_walls import World

_EVERY = "HEADRACE_EVERY_MUTANT"
_SHARE = 60  # of the mutants that need a database


@pytest.fixture(scope="module")
def world(services: Endpoints) -> Iterator[World]:
    name = "walls"
    owner = make_conninfo(services.require_owner())
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        url = make_conninfo(owner, dbname=name)
        as_a, as_b = tenant_walls.fill(url)
        with psycopg.connect(url) as db:
            yield World(db, as_a["tenant"], as_b["tenant"], as_a, as_b)
            db.rollback()
        connection.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize("check", tenant_walls.CHECKS, ids=lambda check: check.__name__)
def test_the_walls_stand(world: World, check: tenant_walls.Check) -> None:
    assert list(check(world)) == []


def test_the_functions_alone_hold_where_row_security_is_off(world: World) -> None:
    """Row security is the second wall: with it off, a function that is called with B's ids still does nothing to B."""
    with world.db.transaction(force_rollback=True):
        for (table,) in world.db.execute(
            "select c.oid::regclass::text from pg_class c"
            " where c.relnamespace = 'headrace'::regnamespace and c.relrowsecurity"
        ).fetchall():
            world.db.execute(f"alter table {table} disable row level security".encode())
        assert [one for one in tenant_walls.strangers_ids(world, tenants=False) if "changed rows" in one] == []


def test_every_function_that_app_or_producers_may_execute_was_called(world: World) -> None:
    called = {name for name, _ in tenant_walls.signatures(world.db)}
    assert (
        called | {"current_tenant", "now", "time_of"}
        == tenant_walls.EXECUTABLE[tenant_walls.APP] | tenant_walls.EXECUTABLE[tenant_walls.PRODUCER]
    )


def mutants(world: World) -> Iterator[tuple[str, str]]:
    """Every wall, as the statement that takes it down."""
    tables = world.db.execute(
        """select c.oid::regclass::text, c.relispartition, c.relrowsecurity, c.relkind::text from pg_class c
           where c.relnamespace = 'headrace'::regnamespace and c.relkind in ('r', 'p', 'v') order by 1"""
    ).fetchall()
    for table, _partition, secured, _kind in tables:
        if secured:
            yield f"no force on {table}", f"alter table {table} no force row level security"
            yield f"no row security on {table}", f"alter table {table} disable row level security"
    for policy, table in world.db.execute(
        "select p.polname, p.polrelid::regclass::text from pg_policy p join pg_class c on c.oid = p.polrelid"
        " where c.relnamespace = 'headrace'::regnamespace order by 2, 1"
    ).fetchall():
        yield f"no policy {policy} on {table}", f"drop policy {policy} on {table}"
        if policy != "exported_stays":  # which is for everybody as it is
            yield f"{policy} on {table} for everybody", f"alter policy {policy} on {table} to public"
        if policy == "tenant_bound":
            yield f"{policy} on {table} sees all", f"alter policy {policy} on {table} using (true)"
            yield f"{policy} on {table} writes all", f"alter policy {policy} on {table} with check (true)"
    for role in (tenant_walls.APP, tenant_walls.PRODUCER, "public"):
        for table, partition, _secured, kind in tables:
            if partition:
                continue
            for command in ("select", "insert", "update", "delete", "truncate", "references", "trigger", "maintain"):
                if (
                    role == tenant_walls.APP
                    and command == "select"
                    and world.db.execute(
                        "select has_table_privilege(%s, %s::regclass, %s)", [role, table, command]
                    ).fetchone()
                    == (True,)
                ):
                    continue
                if kind == "v" and command in ("maintain", "truncate"):
                    continue
                yield f"{role} may {command} {table}", f"grant {command} on {table} to {role}"
    for command, names in (("update, delete", ("model_prices", "audit", "prompts", "prompt_history", "results")),):
        for name in names:
            yield f"operators may {command} {name}", f"grant {command} on headrace.{name} to {tenant_walls.OPS}"
    for name, signature, definer in world.db.execute(
        """select p.proname, p.oid::regprocedure::text, p.prosecdef from pg_proc p
           where p.pronamespace = 'headrace'::regnamespace
           and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') order by 2"""
    ).fetchall():
        for role in (tenant_walls.APP, tenant_walls.PRODUCER, "public"):
            if name not in tenant_walls.EXECUTABLE.get(role, set()):
                yield f"{role} may execute {signature}", f"grant execute on function {signature} to {role}"
        if definer:
            yield f"{name} with the caller's search_path", f"alter function {signature} reset search_path"
            if name in tenant_walls.EXECUTABLE[tenant_walls.APP]:
                yield f"{name} as its caller", f"alter function {signature} security invoker"
    yield "app may use a sequence", "grant usage on all sequences in schema headrace to headrace_app"
    yield "a view asks as its owner", "alter view headrace.job_status reset (security_invoker)"
    yield "everybody may use the schema", "grant usage on schema headrace to public"
    yield "app may create in the schema", "grant create on schema headrace to headrace_app"
    yield "app is a member of ops", "grant headrace_ops to headrace_app"
    yield "app passes row security by", "alter role headrace_app bypassrls"
    yield (
        "new tables are open",
        "alter default privileges for role headrace_owner in schema headrace grant select on tables to headrace_app",
    )
    yield "a column is open", "grant select (of_tenant) on headrace.slots to headrace_app"
    yield "a pointer leads anywhere", "alter table headrace.prompt_pointers drop constraint prompt_pointers_prompt_fkey"
    yield "a table that nobody knows", "create table headrace.unknown_table (id integer)"
    yield "a table of a tenant without a policy", "create table headrace.new_table (tenant_id uuid)"


def test_a_wall_that_is_taken_down_shows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    every = list(mutants(world))
    seed = int(os.environ.get("HEADRACE_SEED", random.SystemRandom().randrange(10**6)))
    whole = bool(os.environ.get(_EVERY))
    chosen = every if whole else random.Random(seed).sample(every, _SHARE)
    assert [one for check in tenant_walls.CHECKS for one in check(world)] == [], "before anything is taken down"
    unseen = []
    for name, statement in chosen:
        with world.db.transaction(force_rollback=True):
            world.db.execute(statement.encode())
            if not any(next(iter(check(world)), None) for check in tenant_walls.CHECKS):
                unseen.append(name)
    with capsys.disabled():
        print(f"\n{len(chosen)} of {len(every)} walls taken down (HEADRACE_SEED={seed}), {len(unseen)} unnoticed")
        if whole:
            print("\n".join(name for name, _ in chosen))
    assert unseen == []


_PREDICATE = re.compile(
    r"\((?P<alias>\w+)\.tenant_id = p_tenant or (?P=alias)\.tenant_id is null\)|"
    r"(?:\b(?:and|where)\s+)?\b\w+\.tenant_id = (?:p_tenant|v_tenant|\w+\.tenant_id)"
    r"|\b(?:and|where)\s+tenant_id = p_tenant"
)


def test_a_predicate_that_is_taken_out_shows(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Every place in a reachable function's text that names a table's tenant, taken out in turn."""
    texts = tenant_walls.reachable(world.db)
    with_tenant = {name for name, has in tenant_walls.relations(world.db).items() if has} | {"tenants"}
    standing = set(tenant_walls.predicates(texts, with_tenant))
    assert standing == set()
    names, unseen = [], []
    for function, text in sorted(texts.items()):
        for nth, match in enumerate(_PREDICATE.finditer(text)):
            left = {"(": "true", "w": "where true"}.get(match[0][0], "")
            mutant = text[: match.start()] + left + text[match.end() :]
            names.append(f"{function} #{nth}: {match[0]}")
            if not list(tenant_walls.predicates({function: mutant}, with_tenant)):
                unseen.append(names[-1])
    with capsys.disabled():
        print(f"\n{len(names)} predicates taken out of {len(texts)} functions, {len(unseen)} unnoticed")
        if os.environ.get(_EVERY):
            print("\n".join(names))
    assert unseen == []
