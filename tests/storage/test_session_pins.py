"""A session reads and writes the same whatever its role or its database sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from storage.db.connect import PINNED, connect
from storage.db.database import Database
from tests.support.fleet import Urls

ODD = {
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-6",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "client_encoding": "LATIN1",
}


@pytest.fixture
def odd(urls: Urls) -> Urls:
    """The test's database, with everything set that a role or a database may set: half by each of the two."""
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        name = owner.info.dbname
        for n, (setting, value) in enumerate(ODD.items()):
            whose = ["role headrace_app in database {0}", "role headrace_ops in database {0}", "database {0}"]
            for one in whose[:2] if n % 2 else whose[2:]:
                text = f"alter {one} set {{1}} = {{2}}"
                owner.execute(sql.SQL(text).format(sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)))
    with psycopg.connect(urls.app) as plain:
        assert plain.execute("show TimeZone").fetchone() == ("Asia/Kolkata",), "the settings are in force"
    return urls


def test_every_session_has_what_its_reader_relies_on(odd: Urls) -> None:
    look = "select name, setting from pg_settings where name = any (%s)"
    names = [*PINNED, "client_encoding"]
    for url in (odd.app, odd.ops):
        with connect(url) as one, Database(url) as pool, pool.connection() as pooled:
            for connection in (one, pooled):
                found = {row["name"]: row["setting"] for row in connection.execute(look, [names])}
                assert found == {**PINNED, "client_encoding": "UTF8"}


def test_values_come_and_go_as_they_are(odd: Urls) -> None:
    values = {
        "at": datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC), "day": datetime(2026, 3, 4, tzinfo=UTC).date(),
        "took": timedelta(days=-3, hours=4, microseconds=5), "ratio": 0.1 + 0.2, "raw": b"\\x00\x00'",
        "some": ["null", None], "text": "José ✓ \\ '", "none": None,
    }  # fmt: skip
    types = {
        "at": "timestamptz", "day": "date", "took": "interval", "ratio": "float8", "raw": "bytea", "some": "text[]",
    }  # fmt: skip
    columns = ", ".join(f"%({name})s::{types.get(name, 'text')} as {name}" for name in values)
    with Database(odd.app) as database, database.connection() as connection:
        row = connection.execute(f"select {columns}", values).fetchone()
        assert row == values
        assert row["at"].utcoffset() == timedelta(0)
        text = connection.execute("select %(at)s::timestamptz::text as at, 'a\\b' as literal", values).fetchone()
        assert text == {"at": "2026-03-04 05:06:07.000008+00", "literal": "a\\b"}
