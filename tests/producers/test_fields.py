"""A field of a job is told in four places, which agree: CONTRIBUTING.md says which."""

from __future__ import annotations

from typing import Any, Required, get_origin, get_type_hints

import psycopg

from producers.fields import Fields
from producers.requests import JobRequest
from storage.db.connect import connect
from storage.db.database import Database
from tests.support.fleet import Urls
from tests.support.transactions import enqueue_jobs, request

_MADE_AT_THE_DOOR = {"id", "estimated_tokens"}  # a caller of Python gives neither
_SET_BY_SQL = {"tenant_id", "created_at"}  # whatever the request says of them


def _columns(connection: Any, relation: str) -> dict[str, str]:
    rows = connection.execute(
        "select attname, format_type(atttypid, null) from pg_attribute"
        " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        [f"headrace.{relation}"],
    ).fetchall()
    return dict(rows)


def test_a_field_is_in_each_of_its_places(urls: Urls) -> None:
    with psycopg.connect(urls.owner) as owner:
        row, jobs = _columns(owner, "job_request"), _columns(owner, "jobs")
        arguments = dict(
            owner.execute(
                "select name, format_type(type, null) from pg_proc p,"
                " unnest(p.proargnames, p.proargtypes::oid[]) a(name, type)"
                " where p.oid = 'headrace.enqueue'::regproc"
            ).fetchall()
        )

    asked = set(JobRequest.model_fields)
    assert asked == set(Fields.__annotations__)
    assert {
        name for name, hint in get_type_hints(Fields, include_extras=True).items() if get_origin(hint) is Required
    } == {name for name, field in JobRequest.model_fields.items() if field.is_required()}
    assert set(row) == asked | _MADE_AT_THE_DOOR | {"created_at"}
    assert row.items() <= jobs.items()
    assert arguments == {name: kind for name, kind in row.items() if name != "created_at"}


def test_a_field_that_only_a_migration_adds_is_kept(urls: Urls, app: Database) -> None:
    """The steps of CONTRIBUTING.md in SQL; neither the checks nor the inserts name the field."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        (view,) = owner.execute("select pg_get_viewdef('headrace.job_request'::regclass)").fetchone() or ("",)
        owner.execute("alter table headrace.jobs add column colour text")
        columns = view.replace("\n   FROM", ", colour\n   FROM")
        assert columns != view
        owner.execute(
            f"create or replace view headrace.job_request with (security_invoker = true) as {columns}".encode()
        )
        tenant = owner.execute(
            "insert into headrace.tenants (id, name, plan) values (uuidv7(), 'Acme', 'pro') returning id"
        ).fetchone()
    assert tenant is not None
    with app.connection() as connection:
        (done,) = enqueue_jobs(connection, tenant[0], request(colour="blue"))
    assert done.created, done.error
    with connect(urls.owner) as owner_again:
        found = owner_again.execute("select colour from headrace.jobs where id = %s", [done.job_id]).fetchone()
    assert found == {"colour": "blue"}


def test_what_sql_sets_is_not_the_callers(app: Database, ops: Database, tenant: Any) -> None:
    mine = dict.fromkeys(_SET_BY_SQL, "2001-01-01T00:00:00Z") | {"tenant_id": "00000000-0000-0000-0000-000000000007"}
    with app.connection() as connection:
        (done,) = enqueue_jobs(connection, tenant, request(**mine))
    with ops.connection() as connection:
        kept = connection.execute(
            "select tenant_id, created_at > now() - interval '1 hour' as new from headrace.jobs where id = %s",
            [done.job_id],
        ).fetchone()
    assert kept == {"tenant_id": tenant, "new": True}
