"""``headrace billing``: prices and customers with an audit, margins to the last digit, days closed and sent."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from console.commands.billing import day, factor, price_command
from errors import InvalidInputError
from storage.db.database import Database
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support.stripe_server import KEY, MeterServer, meter_server

ME = pwd.getpwuid(os.getuid()).pw_name
TODAY = datetime.now(UTC).date()


@pytest.fixture
def server() -> Iterator[MeterServer]:
    with meter_server(lambda: datetime.now(UTC), "cus_1", "cus_2") as server:
        yield server


@pytest.fixture
def stripe(server: MeterServer) -> dict[str, str | None]:
    """What leads to Stripe."""
    return {"HEADRACE_STRIPE_API_KEY": KEY, "HEADRACE_STRIPE_BASE_URL": server.url}


def usage(ops: Database, tenant: UUID, days_ago: int, *, usd: str, calls: int = 1, tokens: int = 1000) -> date:
    """A day's usage, as settling adds it up."""
    of_day = TODAY - timedelta(days=days_ago)
    with ops.connection() as connection:
        connection.execute(
            "insert into headrace.billing_daily (tenant_id, day, calls, input_tokens, output_tokens, platform_usd)"
            " values (%s, %s, %s, %s, %s, %s::numeric)",
            [tenant, of_day, calls, tokens, tokens, usd],
        )
    return of_day


def audited(ops: Database) -> list[dict[str, Any]]:
    with ops.connection() as connection:
        return connection.execute("select * from headrace.audit order by id").fetchall()


def test_a_price_is_set_shown_and_audited(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    nothing = headrace("billing", "price", "Acme")
    first = headrace(
        "billing", "price", "Acme", "--cost-factor", "1.25", "--per-call", "0.0001", "--from", "2026-01-01", "--json"
    )
    second = headrace("billing", "price", str(tenant), "--output-mtok", "8.5")
    shown = headrace("billing", "price", "Acme", "--json").json

    assert "no price" in nothing.out
    assert (first.code, first.err) == (0, "")
    assert first.json == {
        "tenant_id": str(tenant),
        "prices": [
            {
                "effective_from": "2026-01-01", "cost_factor": "1.25", "per_call_usd": "0.0001", "input_mtok_usd": "0",
                "output_mtok_usd": "0",
            }
        ],
    }  # fmt: skip
    assert [row.split() for row in second.out.splitlines()[2:]] == [
        [str(TODAY), "1.25", "0.0001", "0", "8.5"],
        ["2026-01-01", "1.25", "0.0001", "0", "0"],
    ]
    assert [one["effective_from"] for one in shown["prices"]] == [str(TODAY), "2026-01-01"]
    assert [(one["actor"], one["action"], one["target"]) for one in audited(ops)] == [
        (ME, "billing.set_price", "2026-01-01"),
        (ME, "billing.set_price", str(TODAY)),
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cost_factor": "1,2"}, "cost_factor"),
        ({"per_call": "free"}, "per_call"),
        ({"input_mtok": "1e3"}, "input_mtok"),
        ({"output_mtok": "0.0000000000001"}, "output_mtok"),
        ({"per_call": "1", "since": "tomorrow"}, "from"),
        ({"since": "2026-01-01"}, "from"),
    ],
)
def test_a_price_that_is_none_is_refused_before_anything_is_asked(given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        price_command("Acme", **given)

    assert refused.value.field == field


@pytest.mark.parametrize("text", ["", "-1", "+1", "1e2", "NaN", "1.", ".5", "1" * 7, "٣"])
def test_a_factor_is_digits_and_a_point(text: str) -> None:
    with pytest.raises(InvalidInputError):
        factor(text)


@pytest.mark.parametrize("text", ["", "7", "2026-02-30", "yesterday"])
def test_a_day_is_a_date(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        day(text, field="from")
    assert refused.value.field == "from"


def test_a_customer_is_set_and_taken_away_and_audited(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    new_tenant(ops, "Bee")
    done = headrace("billing", "customer", "Acme", "cus_1")
    taken = headrace("billing", "customer", "Bee", "cus_1", "--json")
    blank = headrace("billing", "customer", "Bee", "cus 1", "--json")
    away = headrace("billing", "customer", "Acme", "none", "--json")

    assert (done.code, done.out) == (0, "Acme: cus_1\n")
    assert (taken.code, taken.json["error"]["field"], taken.json["error"]["message"]) == (
        2, "customer", "is another tenant's",
    )  # fmt: skip
    assert (blank.code, blank.json["error"]["field"]) == (2, "customer")
    assert away.json == {"tenant_id": str(tenant), "stripe_customer_id": None}
    assert [(one["before"], one["after"]) for one in audited(ops)] == [(None, "cus_1"), ("cus_1", None)]


def test_margin_is_exact_and_lists_who_has_no_price(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    bee = new_tenant(ops, "Bee")
    new_tenant(ops, "Idle")
    for days_ago, usd in ((0, "0.1"), (3, "0.2"), (40, "100")):
        usage(ops, tenant, days_ago, usd=usd)
    usage(ops, bee, 1, usd="0.000000000000000001", calls=7)
    headrace("billing", "price", "Acme", "--cost-factor", "1.5", "--from", str(TODAY - timedelta(days=1)))

    document = headrace("billing", "margin", "--json").json
    shown = headrace("billing", "margin").out
    whole = headrace("billing", "margin", "--since", "50", "--tenant", "Acme", "--json").json

    acme, bees = document["rows"]
    assert (acme["tenant"], acme["tenant_id"], acme["cost_usd"], acme["unpriced_usd"]) == (
        "Acme", str(tenant), "0.3", "0.2",
    )  # fmt: skip
    assert (acme["revenue_usd"], acme["margin_usd"], acme["margin_percent"]) == ("0.15", "0.05", "33.33")
    assert (bees["calls"], bees["cost_usd"], bees["revenue_usd"], bees["margin_usd"]) == (
        7, "0.000000000000000001", None, None,
    )  # fmt: skip
    assert document["total"]["cost_usd"] == "0.300000000000000001"
    assert (document["total"]["calls"], Decimal(document["total"]["margin_usd"])) == (9, Decimal("0.05"))
    words = [row.split() for row in shown.splitlines()]
    assert words[2] == ["Acme", "2", "0.300000", "0.200000", "0.150000", "0.050000", "33.3"]
    assert words[3] == ["Bee", "7", "0.000000", "0.000000"]
    assert words[4][:3] == ["total", "9", "0.300000"]
    assert [row["cost_usd"] for row in whole["rows"]] == ["100.3"]


def test_days_are_closed_sent_and_told_of(
    headrace: Headrace, ops: Database, tenant: UUID, server: MeterServer, stripe: dict[str, str | None]
) -> None:
    bee = new_tenant(ops, "Bee")
    for one, name in ((tenant, "cus_1"), (bee, "cus_nobody")):
        headrace("billing", "customer", one, name)
        headrace("billing", "price", one, "--cost-factor", "2", "--from", str(TODAY - timedelta(days=2)))
        for days_ago in (0, 1, 2, 3):
            usage(ops, one, days_ago, usd="0.00000125")

    closed = headrace("billing", "close", "--json")
    unset = headrace("billing", "send", "--json")
    sent = headrace("billing", "send", "--json", env=stripe)
    status = headrace("billing", "status", "--json")
    shown = headrace("billing", "status").out

    assert {(one["tenant_id"], one["day"]) for one in closed.json["closed"]} == {
        (str(one), str(TODAY - timedelta(days=days_ago))) for one in (tenant, bee) for days_ago in (1, 2)
    }
    assert [one["billed_micro_usd"] for one in closed.json["closed"]] == [2, 3, 2, 3], "2.5 and what was carried"
    assert (unset.code, unset.json["error"]["code"], unset.json["error"]["field"]) == (
        2, "configuration", "HEADRACE_STRIPE_API_KEY",
    )  # fmt: skip
    assert (sent.code, sent.json) == (1, {"sent": 2, "failed": 2, "stopped_by": None})
    assert server.total("cus_1") == 5
    acme, bees = status.json["tenants"]
    counts = ("open_days", "closed_days", "sent_days", "waiting_days", "failed_days", "held_days")
    assert [acme[name] for name in counts] == [1, 2, 2, 0, 0, 0]
    assert [bees[name] for name in counts] == [1, 2, 0, 0, 2, 0]
    assert (acme["billed_usd"], acme["carried_usd"]) == ("0.000005", "0")
    assert [(one["tenant"], one["attempts"], one["held"]) for one in status.json["unsent"]] == [("Bee", 1, False)] * 2
    assert "No such customer: cus_nobody" in shown

    mended = headrace("billing", "customer", "Bee", "cus_2")
    again = headrace("billing", "send", env=stripe)
    assert (mended.code, again.code, again.out) == (0, 0, "sent 2, failed 0\n")
    assert server.total("cus_2") == 5
    for done in (sent, again):
        assert KEY not in done.out + done.err


def test_a_wrong_key_stops_the_sending_and_is_not_quoted(
    headrace: Headrace, ops: Database, tenant: UUID, stripe: dict[str, str | None]
) -> None:
    headrace("billing", "customer", "Acme", "cus_1")
    headrace("billing", "price", "Acme", "--per-call", "1", "--from", "2026-01-01")
    usage(ops, tenant, 1, usd="0")
    headrace("billing", "close")

    wrong = {**stripe, "HEADRACE_STRIPE_API_KEY": "sk_test_mistyped", "HEADRACE_LOG_LEVEL": "debug"}
    done = headrace("billing", "send", env=wrong)

    assert (done.code, done.out) == (1, "sent 0, failed 1\n")
    assert "biller_auth" in done.err
    assert "sk_test_mistyped" not in done.err


def test_a_person_says_what_was_found_at_stripe(
    headrace: Headrace, ops: Database, tenant: UUID, server: MeterServer, stripe: dict[str, str | None]
) -> None:
    headrace("billing", "customer", "Acme", "cus_1")
    headrace("billing", "price", "Acme", "--per-call", "1", "--from", "2026-01-01")
    which = usage(ops, tenant, 1, usd="0")
    headrace("billing", "close")
    server.faults.append("cut")
    assert headrace("billing", "send", "--json", env=stripe).json["stopped_by"]["code"] == "biller_answer_lost"
    with ops.connection() as connection:
        connection.execute("update headrace.outbox set unsure_since = headrace.now() - interval '23 hours'")
    (held,) = headrace("billing", "status", "--json").json["unsent"]
    assert "held" in headrace("billing", "status").out

    none = headrace("billing", "resolve", "Acme", "2026-01-01", "sent", "--json")
    done = headrace("billing", "resolve", "Acme", which, "sent")
    twice = headrace("billing", "resolve", "Acme", which, "again", "--json")

    assert (held["held"], held["day"]) == (True, str(which))
    assert (none.code, none.json["error"]["code"], none.json["error"]["field"]) == (2, "not_found", "day")
    assert (done.code, done.out) == (0, f"Acme, {which}: sent\n")
    assert twice.json["error"]["code"] == "not_found"
    assert headrace("billing", "send", "--json", env=stripe).json["sent"] == 0
    assert server.total("cus_1") == 1_000_000
    assert [(one["actor"], one["target"], one["after"]) for one in audited(ops)][-1] == (ME, str(which), "sent")
