"""``headrace spend`` and its subcommands: exact to the last digit, by whole days."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pyarrow import parquet

from console.commands.spend import first_day, period
from errors import InvalidInputError
from storage.db.database import Database
from storage.db.ids import new_id
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    unknown_run,
)

TODAY = date(2026, 3, 1)
LUNA, HAIKU = ("openai", "gpt-6-luna"), ("anthropic", "claude-haiku-5-5")


@pytest.mark.parametrize(
    ("since", "day"),
    [
        ("1", TODAY),
        ("1d", TODAY),
        ("2", date(2026, 2, 28)),
        ("7d", date(2026, 2, 23)),
        ("2026-02-01", date(2026, 2, 1)),
    ],
)
def test_since_is_a_number_of_days_or_a_date(since: str, day: date) -> None:
    assert first_day(since, today=TODAY) == day


@pytest.mark.parametrize("since", ["0", "24h", "-1", "yesterday", "2026-02-30", "2026-03-02", "1.5", "٣"])
def test_since_is_nothing_else(since: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        first_day(since, today=TODAY)

    assert refused.value.field == "since"


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("7", None, (date(2026, 2, 23), TODAY)),
        ("7", "2026-02-20", (date(2026, 2, 14), date(2026, 2, 20))),
        ("2026-02-01", "2026-02-01", (date(2026, 2, 1), date(2026, 2, 1))),
        ("2026-02-01", "2026-03-31", (date(2026, 2, 1), date(2026, 3, 31))),
    ],
)
def test_until_is_the_last_day(since: str, until: str | None, days: tuple[date, date]) -> None:
    assert period(since, until, today=TODAY) == days


@pytest.mark.parametrize(("since", "until"), [("2026-02-02", "2026-02-01"), ("7", "7"), ("7", "tomorrow")])
def test_until_is_a_day_and_not_before_the_first(since: str, until: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        period(since, until, today=TODAY)

    assert refused.value.field == "until"


@pytest.fixture
def spent(ops: Database, tenant: UUID) -> UUID:
    """Spend of two tenants over the last days, in amounts that floats cannot add up; returns the second tenant."""
    bee = new_tenant(ops, "Bee")
    today = datetime.now(UTC).date()
    rows = [
        (today, tenant, "ada", "chat", *LUNA, 3, 1, 100, 20, "0.1"),
        (today, tenant, "bob", "chat", *HAIKU, 1, 0, 10, 2, "0.2"),
        (today - timedelta(days=6), tenant, "ada", "report", *LUNA, 2, 0, 50, 5, "0.000000000000000001"),
        (today - timedelta(days=7), tenant, "ada", "chat", *LUNA, 9, 0, 9, 9, "9"),
        (today, bee, "ada", "chat", *LUNA, 5, 5, 0, 0, "0"),
    ]
    with ops.connection() as connection:
        for row in rows:
            connection.execute(
                "insert into headrace.spend_daily"
                " (day, tenant_id, user_id, feature, provider, model, calls, failed_calls, input_tokens, output_tokens,"
                "  cost_usd, cached_input_tokens, key_owner)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::numeric, 0, 'platform')",
                row,
            )
    return bee


def test_amounts_are_exact_and_only_of_the_days_asked_for(headrace: Headrace, spent: UUID, tenant: UUID) -> None:
    document = headrace("spend", "--json").json

    acme, bee = document["rows"]
    assert (acme["tenant"], acme["tenant_id"], acme["cost_usd"]) == ("Acme", str(tenant), "0.300000000000000001")
    assert (acme["calls"], acme["failed_calls"], acme["input_tokens"], acme["output_tokens"]) == (6, 1, 160, 27)
    assert (bee["tenant_id"], bee["calls"], bee["failed_calls"], bee["cost_usd"]) == (str(spent), 5, 5, "0")
    assert document["total"]["cost_usd"] == "0.300000000000000001"
    assert (document["total"]["calls"], document["by"]) == (11, "tenant")
    today = headrace("spend", "--since", "1", "--json").json
    assert (today["rows"][0]["cost_usd"], today["since"]) == ("0.3", today["until"])


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("user", [("bob", "0.2"), ("ada", "0.100000000000000001")]),
        ("feature", [("chat", "0.3"), ("report", "0.000000000000000001")]),
        ("model", [("claude-haiku-5-5", "0.2"), ("gpt-6-luna", "0.100000000000000001")]),
    ],
)
def test_by_something_else_of_one_tenant_dearest_first(
    headrace: Headrace, spent: UUID, by: str, rows: list[tuple[str, str]]
) -> None:
    found = headrace("spend", "--by", by, "--tenant", "Acme", "--json").json["rows"]

    assert [(row[by], row["cost_usd"]) for row in found] == rows


def test_a_user_belongs_to_a_tenant_and_people_see_six_places(headrace: Headrace, spent: UUID) -> None:
    shown = headrace("spend", "--by", "user")

    words = [row.split() for row in shown.out.splitlines()]
    assert words[0] == ["tenant", "user", "calls", "failed", "tokens", "in", "tokens", "out", "cost", "USD"]
    assert words[2:6] == [
        ["Acme", "bob", "1", "0", "10", "2", "0.200000"],
        ["Acme", "ada", "5", "1", "150", "25", "0.100000"],
        ["Bee", "ada", "5", "5", "0", "0", "0.000000"],
        ["total", "11", "6", "160", "27", "0.300000"],
    ]
    assert "UTC days" in shown.out


def test_nothing_spent_is_zero(headrace: Headrace, tenant: UUID) -> None:
    document = headrace("spend", "--json").json

    assert (document["rows"], Decimal(document["total"]["cost_usd"])) == ([], 0)


# ------------------------------------------------------------------------------------------- combinations and exports


def test_several_make_a_row_a_combination(headrace: Headrace, spent: UUID) -> None:
    document = headrace("spend", "--by", "feature", "--by", "day", "--json", "--tenant", "Acme").json
    today, week_ago = document["until"], document["since"]

    assert document["by"] == "feature,day"
    assert [(row["day"], row["feature"], row["cost_usd"]) for row in document["rows"]] == [
        (week_ago, "report", "0.000000000000000001"),
        (today, "chat", "0.3"),
    ]
    table = headrace("spend", "--by", "feature", "--by", "day", "--tenant", "Acme").out.splitlines()
    assert table[2].split() == [week_ago, "report", "2", "0", "50", "5", "0.000000"]


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("provider", [{"provider": "anthropic"}, {"provider": "openai"}]),
        ("key", [{"key_owner": "platform"}]),
        ("prompt", [{"prompt": None, "version": None, "prompt_id": None}]),
    ],
)
def test_by_provider_key_and_prompt(headrace: Headrace, spent: UUID, by: str, rows: list[dict[str, Any]]) -> None:
    found = headrace("spend", "--by", by, "--json").json["rows"]

    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert headrace("spend", "--by", by).out.splitlines()[2].split()[0] == (next(iter(rows[0].values())) or "–")


def test_until_leaves_later_days_out(headrace: Headrace, spent: UUID) -> None:
    week_ago = datetime.now(UTC).date() - timedelta(days=7)

    document = headrace("spend", "--since", "7", "--until", week_ago, "--json").json

    assert (document["until"], document["total"]["cost_usd"]) == (str(week_ago), "9")


def test_files_read_back_equal(headrace: Headrace, spent: UUID, ops: Database, tmp_path: Path) -> None:
    with ops.connection() as connection:
        connection.execute(
            "update headrace.spend_daily set user_id = %s, over_calls = 1, over_reserved_usd = 0.05,"
            " reserved_usd = 0.15 where user_id = 'bob'",
            ['=1+1, "b\rö'],
        )
    done = headrace(
        "spend", "--by", "day", "--by", "user", "--json", "--csv", "spend.csv", "--parquet", "spend.parquet"
    )
    rows = done.json["rows"]

    with (tmp_path / "spend.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{name: str(value) for name, value in row.items()} for row in rows]
    table = parquet.read_table(tmp_path / "spend.parquet")
    assert {str(table.schema.field(name).type) for name in table.column_names if name.endswith("_usd")} == {
        "decimal128(38, 18)"
    }
    assert (str(table.schema.field("day").type), str(table.schema.field("calls").type)) == ("date32[day]", "int64")
    read = table.to_pylist()
    assert [{**row, "day": str(row["day"])} for row in read] == [
        {**row, **{name: Decimal(row[name]) for name in row if name.endswith("_usd")}} for row in rows
    ]
    assert len(rows) == 4
    assert done.err == "4 rows in spend.parquet\n4 rows in spend.csv\n"


def test_csv_on_standard_output_is_all_there_is(headrace: Headrace, spent: UUID) -> None:
    done = headrace("spend", "--by", "model", "--csv", "-", "--chart")

    assert list(csv.reader(io.StringIO(done.out, newline=""))) == [
        ["provider", "model", "calls", "failed_calls", "input_tokens", "cached_input_tokens", "output_tokens",
         "cost_usd", "reserved_usd", "over_calls", "over_reserved_usd"],
        ["anthropic", "claude-haiku-5-5", "1", "0", "10", "0", "2", "0.2", "0", "0", "0"],
        ["openai", "gpt-6-luna", "10", "6", "150", "0", "25", "0.100000000000000001", "0", "0", "0"],
    ]  # fmt: skip
    assert done.err == ""


def test_nothing_spent_is_a_head_and_an_empty_table(headrace: Headrace, tenant: UUID, tmp_path: Path) -> None:
    done = headrace("spend", "--csv", "-", "--parquet", "empty.parquet")

    assert done.out.startswith("tenant,tenant_id,calls,")
    assert len(done.out.splitlines()) == 1
    table = parquet.read_table(tmp_path / "empty.parquet")
    assert (table.num_rows, table.column_names[:2]) == (0, ["tenant", "tenant_id"])


def test_where_nothing_can_be_written_it_is_said(headrace: Headrace, spent: UUID) -> None:
    for arguments, field, code in (
        (["--csv", "nowhere/x.csv"], "csv", "invalid_input"),
        (["--parquet", "nowhere/x.parquet"], "parquet", "invalid_input"),
        (["--parquet", "-"], "parquet", "invalid_input"),
        (["--csv", "-"], "csv", "invalid_input"),
    ):
        done = headrace("spend", *arguments, "--json")
        assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, code, field)


def test_without_pyarrow_parquet_says_what_to_install(headrace: Headrace, spent: UUID, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")

    done = headrace("spend", "--parquet", "x.parquet", env={"PYTHONPATH": str(tmp_path)})

    assert (done.code, done.out) == (2, "")
    assert "Run `pip install 'headrace[parquet]'`. [configuration]" in done.err
    assert headrace("spend", "--csv", "-", env={"PYTHONPATH": str(tmp_path)}).code == 0


def test_an_amount_that_parquet_cannot_hold_is_refused_and_csv_keeps_it(
    headrace: Headrace, spent: UUID, ops: Database, tmp_path: Path
) -> None:
    long = "1" * 20 + "." + "0" * 18 + "1"
    with ops.connection() as connection:
        connection.execute("update headrace.spend_daily set cost_usd = %s::numeric where user_id = 'bob'", [long])

    refused = headrace("spend", "--by", "user", "--parquet", "x.parquet")
    kept = headrace("spend", "--by", "user", "--csv", "-")

    assert (refused.code, refused.out) == (2, "")
    assert "cost_usd needs 20 before the point and 19 after it" in refused.err
    assert not (tmp_path / "x.parquet").exists()
    assert f",{long}," in kept.out


def test_what_went_beyond_its_reservation_is_flagged(headrace: Headrace, spent: UUID, ops: Database) -> None:
    assert "billed beyond" not in headrace("spend").out
    with ops.connection() as connection:
        connection.execute(
            "update headrace.spend_daily set over_calls = 2, over_reserved_usd = 0.01 where user_id = 'bob'"
        )

    said = headrace("spend")

    assert "billed beyond what was reserved: 2 calls, by 0.01 USD in all" in said.out
    assert headrace("spend", "--json").json["total"]["over_reserved_usd"] == "0.01"


def test_charts_follow_the_table(headrace: Headrace, spent: UUID) -> None:
    bars = headrace("spend", "--by", "user", "--tenant", "Acme", "--chart").out.split("UTC days)\n")[1]
    columns = headrace("spend", "--by", "day", "--tenant", "Acme", "--chart").out.split("UTC days)\n")[1]

    bob, ada = bars.strip().splitlines()
    assert bob == f"Acme bob {'█' * 40} 0.200000"
    assert ada.rstrip() == f"Acme ada {'█' * 20}{' ' * 20} 0.100000"
    lines = columns.strip("\n").splitlines()
    assert lines[0].rstrip() == f"0.300000 │{' ' * 12}█"
    assert lines[7].rstrip() == f"0.000000 │▁{' ' * 11}█", "a trace is seen too"


@pytest.mark.parametrize("option", [("--json",), ("--by", "user"), ("--tenant", "Acme"), ("--since", "7")])
def test_an_option_before_a_subcommand_is_not_dropped_in_silence(headrace: Headrace, option: tuple[str, ...]) -> None:
    done = headrace("spend", *option, "forecast")

    assert done.code == 2
    assert f"{option[0]}: stands before forecast" in done.err


# -------------------------------------------------------------------------------------------------------- subcommands


@pytest.fixture
def called(app: Database, tenant: UUID) -> None:
    """Three calls of Acme: one answered, one billed beyond its bound, one that was never heard of again."""
    with app.connection() as connection:
        for tokens in ((10, 20), (2000, 1000), None):
            claim, job, planned = new_id(), enqueue_job(connection, tenant), planned_call()
            claim_job(connection, tenant, claim_id=claim, worker_id=new_id())
            begin_call(connection, tenant, job, claim, planned)
            run = unknown_run(planned.run_id) if tokens is None else answered_run(planned.run_id, *tokens)
            settle_job(connection, tenant, job, claim, run, "ended", outcome="failed", reason="a test", error={})


def test_estimates_against_bills(headrace: Headrace, called: None) -> None:
    (model,) = headrace("spend", "estimates", "--since", "1", "--json").json["models"]
    shown = headrace("spend", "estimates").out

    assert {name: Decimal(value) if name.endswith("_usd") else value for name, value in model.items()} == {
        "provider": "openai", "model": "gpt-6-luna", "calls": 2, "reserved_usd": Decimal("0.00125"),
        "cost_usd": Decimal("0.000711"), "ratio": "0.568800", "ratio_p50": "0.017600", "ratio_p95": "1.120000",
        "ratio_max": "1.120000", "over_calls": 1, "over_reserved_usd": Decimal("0.000075"), "refused_calls": 0,
        "unknown_calls": 1, "unknown_usd": Decimal("0.000625"),
    }  # fmt: skip
    assert shown.splitlines()[2].split() == [
        "openai", "gpt-6-luna", "2", "0.001250", "0.000711", "0.568800", "0.017600", "1.120000", "1.120000", "1",
        "0.000075", "0", "1", "0.000625",
    ]  # fmt: skip
    assert headrace("spend", "estimates", "--since", "x").code == 2


def test_forecast_by_tenant_soonest_first(headrace: Headrace, ops: Database, called: None, tenant: UUID) -> None:
    new_tenant(ops, "Idle")
    full = new_tenant(ops, "Full", daily_cap_usd=Decimal(0))
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set daily_cost_cap_usd = 0.0014 where id = %s", [tenant])

    document = headrace("spend", "forecast", "--json").json

    assert (document["hours"], document["horizon_hours"]) == (3, 24)
    first, second, third = document["tenants"]
    assert (first["tenant_id"], first["meets_cap"], first["cap_usd"]) == (str(full), "now", "0")
    assert (second["tenant"], second["meets_cap"], Decimal(second["spent_usd"])) == (
        "Acme",
        "later",
        Decimal("0.001336"),
    )
    # 0.000064 USD of room at 0.001336 USD in 3 to 4 hours
    ahead = datetime.fromisoformat(second["meets_cap_at"]) - datetime.now(UTC)
    assert timedelta(minutes=5) < ahead < timedelta(minutes=15)
    assert (third["tenant"], third["meets_cap"], third["meets_cap_at"]) == ("Idle", "not_within_horizon", None)
    (alone,) = headrace("spend", "forecast", "--tenant", "Acme", "--hours", "24", "--json").json["tenants"]
    assert Decimal(alone["pace_usd_per_hour"]) < Decimal(second["pace_usd_per_hour"])
    shown = headrace("spend", "forecast")
    assert [line.split()[0] for line in shown.out.splitlines()[2:5]] == ["Full", "Acme", "Idle"]
    assert "now" in shown.out.splitlines()[2].split()
    assert shown.out.splitlines()[4].split()[5:9] == ["not", "within", "24", "h"]
    assert "the last 3 whole hours" in shown.out
    assert headrace("spend", "forecast", "--hours", "0").code == 2


def test_unusual_names_who_and_by_how_much(headrace: Headrace, spent: UUID, ops: Database) -> None:
    today = datetime.now(UTC).date()
    assert headrace("spend", "unusual", "--json").json == {"since": str(today), "rows": []}
    with ops.connection() as connection:
        for days, usd in ((0, 30), (1, 2), (2, 2), (3, 2)):
            connection.execute(
                "insert into headrace.spend_daily (day, tenant_id, user_id, feature, provider, model, calls,"
                " failed_calls, input_tokens, output_tokens, cost_usd, cached_input_tokens, key_owner)"
                " values (%s, %s, 'eve', 'report', 'openai', 'x', 1, 0, 0, 0, %s, 0, 'platform')",
                [today - timedelta(days=days), spent, usd],
            )

    document = headrace("spend", "unusual", "--json").json

    facts = {
        "day": str(today), "tenant_id": str(spent), "tenant": "Bee", "spent_usd": "30", "median_usd": "2.000000",
        "bound_usd": "8.000000", "days": 3,
    }  # fmt: skip
    assert document["rows"] == [
        {**facts, "scope": "feature", "key": "report"},
        {**facts, "scope": "user", "key": "eve"},
    ]
    shown = headrace("spend", "unusual", "--since", "7d").out
    assert shown.splitlines()[2].split() == [
        str(today), "Bee", "feature", "report", "30.000000", "2.000000", "8.000000", "3",
    ]  # fmt: skip
    assert "over 4 × the median" in shown
