"""``headrace migrate``: from nothing to a database that takes jobs."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from console.endpoints import Endpoints
from tests.console.commands.conftest import Headrace

NAME = "migrate_test"


@pytest.fixture
def fresh(services: Endpoints) -> Iterator[dict[str, str | None]]:
    """The environment of a machine that only deploys: the owner's URL of an empty database."""
    with psycopg.connect(services.require_owner(), autocommit=True) as connection:
        connection.execute(f"create database {NAME}")
        yield {
            "HEADRACE_OWNER_DATABASE_URL": services.require_owner().replace("/headrace?", f"/{NAME}?"),
            "HEADRACE_DATABASE_URL": None,
            "HEADRACE_OPS_DATABASE_URL": None,
            "HEADRACE_REDIS_URL": None,
        }
        connection.execute(f"drop database {NAME} with (force)")


def test_an_empty_database_gets_all_and_a_second_time_nothing(
    headrace: Headrace, services: Endpoints, fresh: dict[str, str | None]
) -> None:
    first = headrace("migrate", env=fresh)
    second = headrace("migrate", "--json", env=fresh)
    third = headrace("migrate", env=fresh)

    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("applied 0001_basics.sql\n")
    assert "6 new prompt versions" in first.out
    lines = first.out.splitlines()
    assert "feature report: new" in lines and "prompt chat: version 1 is new and active" in lines
    assert any(line.startswith("price openai:gpt-6-luna: new from ") for line in lines)
    assert third.out.splitlines()[1] == "Nothing new was published."
    assert second.json["features_added"] == [] and second.json["prices"] == []
    assert {(one["name"], one["version"], one["active"]) for one in second.json["prompts"]} >= {("chat", 1, 1)}
    assert second.json["applied"] == []
    assert (second.json["prompts_published"], second.json["prices_added"]) == (0, 0)
    assert second.json["functions"] > 0
    assert third.out.startswith("The schema was up to date.\n")
    used = {
        "HEADRACE_DATABASE_URL": services.database_url.replace("/headrace?", f"/{NAME}?"),
        "HEADRACE_OPS_DATABASE_URL": services.require_ops().replace("/headrace?", f"/{NAME}?"),
    }
    assert headrace("tenants", "add", "Acme", env=used).code == 0


def test_a_migration_that_was_edited_is_refused(headrace: Headrace, fresh: dict[str, str | None]) -> None:
    headrace("migrate", env=fresh)
    with psycopg.connect(str(fresh["HEADRACE_OWNER_DATABASE_URL"]), autocommit=True) as connection:
        connection.execute("update headrace.schema_migrations set hash = 'x' where name like '0001%'")

    done = headrace("migrate", "--json", env=fresh)

    assert (done.code, done.json["error"]["code"]) == (2, "migration")
    assert "0001" in done.json["error"]["message"]


def test_an_owner_that_may_not_is_told_so(headrace: Headrace, environment: dict[str, str]) -> None:
    done = headrace("migrate", "--json", env={"HEADRACE_OWNER_DATABASE_URL": environment["HEADRACE_DATABASE_URL"]})

    assert done.code == 2
    assert done.json["error"]["code"] in ("migration", "configuration")
    assert "Traceback" not in done.err


def test_without_an_owners_url_it_says_which_is_missing(headrace: Headrace) -> None:
    done = headrace("migrate", "--json", env={"HEADRACE_OWNER_DATABASE_URL": None})

    assert (done.code, done.json["error"]["field"]) == (2, "HEADRACE_OWNER_DATABASE_URL")
