"""Whatever Postgres keeps can be read, value by value, without an error."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from storage.db.database import Database
from storage.db.reading import FIRST, LAST, MOST_LEVELS, Unreadable, is_deeper_than, read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ("9" * 4000, int("9" * 4000)),
        ("[" * MOST_LEVELS + "]" * MOST_LEVELS, None),
        (f"[{','.join(['[]'] * 1000)}]", [[]] * 1000),
    ],
)
def test_json_that_python_holds_is_read(text: str, value: Any) -> None:
    read = read_json(text.encode())
    assert not isinstance(read, Unreadable)
    assert value is None or read == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9" * 5000, "number"),
        ('{"a": [-' + "9" * 400 + ".5]}", "number"),
        ("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1), "deeper"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "deeper"),
    ],
)
def test_json_that_python_cannot_hold_is_said_to_be_so(text: str, why: str) -> None:
    read = read_json(text.encode())
    assert isinstance(read, Unreadable)
    assert why in read.why


def test_depth_is_counted_without_recursion() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = {"a": value}
    assert is_deeper_than(value, 64)
    assert not is_deeper_than([[]], 2)
    assert is_deeper_than([[[]]], 2)
    assert not is_deeper_than("[[[", 0)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Apia"])
def test_an_instant_that_python_cannot_hold_is_the_nearest_that_it_can(app: Database, zone: str) -> None:
    with app.connection() as connection, connection.transaction():
        connection.execute("select set_config('timezone', %s, true)", [zone])
        row = connection.execute(
            """select 'infinity'::timestamptz as endless, '-infinity'::timestamptz as ever,
                      '20000-01-01'::timestamptz as far, '0044-03-15 BC'::timestamptz as ides,
                      'infinity'::timestamp as local, '-infinity'::date as day, array['infinity'::timestamptz] as many,
                      '9999-12-31 23:59:59+00'::timestamptz as latest, '0001-01-01 00:00+00'::timestamptz as earliest,
                      '2026-11-29 12:00+00'::timestamptz as usual, '2026-11-29'::date as today,
                      null::timestamptz as never"""
        ).fetchone()
    assert row is not None
    for name in ("latest", "earliest"):
        assert abs(row[name].astimezone(UTC) - (LAST if name == "latest" else FIRST)).days <= 2
        del row[name]
    assert row == {
        "endless": LAST,
        "ever": FIRST,
        "far": LAST,
        "ides": FIRST,
        "local": LAST.replace(tzinfo=None),
        "day": FIRST.date(),
        "many": [LAST],
        "usual": datetime(2026, 11, 29, 12, tzinfo=UTC),
        "today": date(2026, 11, 29),
        "never": None,
    }


def test_one_value_that_cannot_be_held_spoils_no_other(app: Database) -> None:
    with app.connection() as connection:
        rows = connection.execute(
            """select v from (values ('{"n": 1e5000}'::jsonb), ('{"n": 1}'), ('{"n": 1e131071}'), ('[2]')) t(v)"""
        ).fetchall()
    assert [isinstance(one["v"], Unreadable) for one in rows] == [True, False, True, False]
    assert [rows[1]["v"], rows[3]["v"]] == [{"n": 1}, [2]]
