"""``headrace producers``: a login that is bound enqueues for its tenants, and is told of no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from storage.db.database import Database
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support.fleet import Urls

_ENQUEUE = """select headrace.enqueue(%s, 'u', 'chat', messages => '[{"role": "user", "content": "Hello"}]')"""


@pytest.fixture
def service(urls: Urls) -> Iterator[str]:
    """A service's own login, a member of headrace_producer."""
    name = f"service_{uuid4().hex[:8]}"
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login in role headrace_producer").format(sql.Identifier(name)))
        yield name
        owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def outcome(connection: psycopg.Connection[Any], given: UUID) -> str:
    """``in``, or all that the refusal tells."""
    try:
        connection.execute(_ENQUEUE, [given])
    except psycopg.DatabaseError as error:
        told = f"{error.sqlstate} {error.diag.message_primary} {error.diag.message_detail}"
        return told.replace(str(given), "<id>")
    return "in"


def test_a_bound_login_enqueues_for_its_tenants_alone(
    headrace: Headrace, urls: Urls, ops: Database, tenant: UUID, service: str
) -> None:
    other = new_tenant(ops, "Other")
    nobody = uuid4()
    url = make_conninfo(urls.owner, user=service)

    def tried(given: UUID) -> str:
        with psycopg.connect(url) as connection:
            return outcome(connection, given)

    assert (tried(tenant), tried(other)) == ("in", "in")
    first = headrace("producers", "bind", service, "--tenant", str(tenant), "--json")
    assert (bound := first.json) and "warning" not in first.err
    again = headrace("producers", "bind", service, "--tenant", str(tenant), "--json").json
    assert (bound["changed"], again["changed"]) == (True, False)
    with psycopg.connect(urls.producer) as unbound:
        assert outcome(unbound, other) == "in"
        not_there = outcome(unbound, nobody)
    assert not_there.startswith("HR400")
    assert (tried(tenant), tried(other)) == ("in", not_there), "it is told the same of a tenant that is not there"
    assert [
        (one["login"], one["tenant_id"], one["exists"])
        for one in headrace("producers", "list", "--json").json["bindings"]
    ] == [(service, str(tenant), True)]

    last = headrace("producers", "unbind", service, "--tenant", str(tenant), "--json")
    assert (last.code, last.json["error"]["field"]) == (2, "login")
    assert headrace("producers", "unbind", service, "--tenant", str(tenant), "--last", "--json").json["changed"]
    assert tried(other) == "in"
    with ops.connection() as connection:
        rows = connection.execute(
            "select action, target from headrace.audit where action like 'producers.%' order by id"
        )
        assert [(row["action"], row["target"]) for row in rows] == [
            ("producers.bind", service), ("producers.unbind", service),
        ]  # fmt: skip


def test_a_login_that_is_not_there_is_bound_with_a_warning(headrace: Headrace, tenant: UUID) -> None:
    done = headrace("producers", "bind", "servise", "--tenant", str(tenant))

    assert done.code == 0
    assert "warning: the server has no login servise yet" in done.err


def test_a_role_that_is_set_hides_no_login(
    urls: Urls, ops: Database, tenant: UUID, headrace: Headrace, service: str
) -> None:
    other = new_tenant(ops, "Other")
    headrace("producers", "bind", service, "--tenant", str(tenant))
    with psycopg.connect(make_conninfo(urls.owner, user=service)) as connection:
        connection.execute("set role headrace_producer")
        with pytest.raises(psycopg.DatabaseError, match="no such tenant"):
            connection.execute(_ENQUEUE, [other])
