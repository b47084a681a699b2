"""``headrace tenants``, and what a number of dollars is."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from console.terminal.amounts import usd
from errors import InvalidInputError, NameTakenError
from storage.catalogue import tenants
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support.fleet import Urls


def test_add_prints_the_id_and_nothing_else(headrace: Headrace, ops: Database) -> None:
    done = headrace("tenants", "add", "Acme", "--plan", "pro", "--daily-cap", "0.30", "--external-id", "acme-1")

    assert (done.code, done.err) == (0, "")
    with ops.connection() as connection:
        tenant = tenants.resolve(connection, "acme-1")
    assert done.out == f"{tenant.id}\n"
    assert (tenant.name, tenant.plan, tenant.daily_cost_cap_usd) == ("Acme", "pro", Decimal("0.30"))


def test_list_tells_of_all_with_exact_caps(headrace: Headrace, ops: Database) -> None:
    first = headrace("tenants", "add", "Acme", "--daily-cap", "0.1000000001", "--json").json["id"]
    second = headrace("tenants", "add", "[bold]Bee[/bold]").out.strip()
    with ops.connection() as connection:  # a name that was kept before control characters were refused
        connection.execute("update headrace.tenants set name = name || e'\\x1b[31m' where id = %s", [second])

    listed = headrace("tenants", "list", "--json").json["tenants"]
    shown = headrace("tenants", "list")

    assert [(one["id"], one["daily_cost_cap_usd"]) for one in listed] == [(first, "0.1000000001"), (second, "5.00")]
    assert "0.1000000001" in shown.out
    assert "[bold]Bee[/bold]�[31m" in shown.out, "markup is text, and an escape sequence is made harmless"


@pytest.mark.parametrize("cap", ["-5", "1e3", "NaN", "0x10", "5,00", "", "$5", "٥", "1" * 40])
def test_a_cap_that_is_no_amount_is_refused(headrace: Headrace, tenant: UUID, cap: str) -> None:
    with pytest.raises(InvalidInputError, match="is not an amount of USD"):
        usd(cap, field="cap")
    if cap in ("-5", "1e3"):  # the command line itself must not stumble over them
        done = headrace("tenants", "add", "Bee", "--daily-cap", cap, "--json")
        assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, "invalid_input", "daily_cap")


def test_what_cannot_be_is_refused_with_its_field(headrace: Headrace, tenant: UUID) -> None:
    plan = headrace("tenants", "add", "Bee", "--plan", "gold", "--json").json["error"]
    name = headrace("tenants", "add", "", "--json").json["error"]
    headrace("tenants", "add", "Bee", "--external-id", "bee")
    taken = headrace("tenants", "add", "Bee again", "--external-id", "bee", "--json").json["error"]
    nobody = headrace("tenants", "set-weight", "Nobody", "5", "--json").json["error"]

    assert (plan["field"], plan["hint"]) == ("plan", "There are: free, pro, enterprise.")
    assert (name["code"], name["field"]) == ("invalid_input", "name")
    assert (taken["code"], taken["field"]) == ("name_taken", "external_id")
    assert (nobody["code"], nobody["field"]) == ("unknown_tenant", "tenant")
    assert nobody["hint"] == "There are: Bee, Acme. `headrace tenants list` shows all."


def test_a_name_is_taken_once_unless_it_is_said(headrace: Headrace, ops: Database, urls: Urls, tenant: UUID) -> None:
    refused = headrace("tenants", "add", "Acme", "--json").json["error"]
    there = headrace("tenants", "add", "Acme", "--if-missing", "--plan", "free")
    new = headrace("tenants", "add", "Bee", "--if-missing", "--plan", "pro", "--json").json
    both = headrace("tenants", "add", "Acme", "--if-missing", "--same-name", "--json").json["error"]
    another = headrace("tenants", "add", "Acme", "--same-name", "--json").json
    unsure = headrace("tenants", "add", "Acme", "--if-missing", "--json").json["error"]

    assert (refused["code"], refused["field"], refused["value"]) == ("name_taken", "name", "'Acme'")
    assert str(tenant) in refused["hint"] and "--same-name" in refused["hint"]
    assert (there.code, there.out) == (0, f"{tenant}\n")
    assert "Acme is there already" in there.err
    assert (new["added"], another["added"]) == (True, True)
    assert (both["code"], both["field"]) == ("invalid_input", "same_name")
    assert str(tenant) in unsure["hint"] and another["id"] in unsure["hint"]
    with ops.connection() as connection:
        listed = [(str(one.id), one.name, one.plan) for one in tenants.list_tenants(connection)]
        assert listed == [(str(tenant), "Acme", "pro"), (new["id"], "Bee", "pro"), (another["id"], "Acme", "free")]
        with pytest.raises(psycopg.errors.UniqueViolation):  # past the function
            connection.execute("insert into headrace.tenants (id, name) values (uuidv7(), 'Bee')")


def test_of_many_that_add_one_name_at_once_one_does(ops: Database) -> None:
    gate = threading.Barrier(8)

    def share(_: int) -> UUID:
        with psycopg.connect(ops.url, autocommit=True, row_factory=dict_row) as connection:
            gate.wait()
            return tenants.add(connection, name="Shared", same_name=True)

    def add(number: int) -> str:
        with psycopg.connect(ops.url, autocommit=True, row_factory=dict_row) as connection:
            gate.wait()
            if number % 2:
                tenant_id, added = tenants.add_if_missing(connection, name="Race", plan="free", daily_cap_usd=None)
                return "added" if added else f"found {tenant_id}"
            try:
                tenants.add(connection, name="Race")
            except NameTakenError as error:
                return error.code
            return "added"

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(add, range(8)))
        shared = list(pool.map(share, range(8)))
    with ops.connection() as connection:
        (one,) = [one for one in tenants.list_tenants(connection) if one.name == "Race"]
        with pytest.raises(NameTakenError):  # the first of those that share a name has it
            tenants.add(connection, name="Shared")
    assert len(set(shared)) == 8
    assert done.count("added") == 1
    assert set(done) <= {"added", "name_taken", f"found {one.id}"}


def test_a_name_that_two_have_is_not_guessed(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    other = new_tenant(ops, "Acme")
    named_like_an_id = new_tenant(ops, str(tenant))

    done = headrace("tenants", "set-weight", "Acme", "1", "--json")

    assert (done.code, done.json["error"]["code"]) == (2, "invalid_input")
    assert str(tenant) in done.json["error"]["hint"]
    assert str(other) in done.json["error"]["hint"]
    assert (
        headrace("tenants", "set-weight", str(tenant), "1", "--json").json["id"] == str(tenant) != str(named_like_an_id)
    )


def test_a_database_that_was_never_migrated_is_told_of(headrace: Headrace, ops: Database, urls) -> None:
    with Database(urls.owner) as owner, owner.connection() as connection:
        connection.execute("drop schema headrace cascade")

    done = headrace("tenants", "list", "--json")

    assert (done.code, done.json["error"]["code"]) == (2, "migration")
    assert done.json["error"]["hint"] == "Run `headrace migrate`."


def test_set_weight_says_what_holds_and_who_did_it(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    raised = headrace("tenants", "set-weight", "Acme", "7.5")
    back = headrace("tenants", "set-weight", str(tenant), "plan", "--json")
    refused = [headrace("tenants", "set-weight", "Acme", weight, "--json") for weight in ("0", "-1", "1e3", "10001")]

    assert (raised.code, raised.out) == (0, "Acme: weight 7.5\n")
    assert back.json == {"id": str(tenant), "weight": 2.0}
    for one in refused:
        assert (one.code, one.json["error"]["code"], one.json["error"]["field"]) == (2, "invalid_input", "weight")
    assert headrace("tenants", "set-weight", "Nobody", "2", "--json").json["error"]["code"] == "unknown_tenant"
    with ops.connection() as connection:
        audit = connection.execute("select action, before, after from headrace.audit order by id").fetchall()
    assert [tuple(one.values()) for one in audit] == [
        ("tenant.set_weight", None, "7.5"), ("tenant.set_weight", "7.5", None),
    ]  # fmt: skip
