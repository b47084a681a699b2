"""``headrace spend``: exact to the last digit, by whole days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from console.commands.spend import first_day
from errors import InvalidInputError
from storage.database import Database
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace

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
