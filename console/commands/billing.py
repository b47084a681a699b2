"""``headrace billing``: tenants' prices, revenue and margin, and sending closed days to Stripe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import typer

from console.actor import actor
from console.commands.spend import first_day
from console.connect import DATABASE, connect
from console.terminal.amounts import usd
from console.terminal.output import Json, note, print_json, print_table, say
from errors import InvalidInputError, NotFoundError
from settings import Settings, reveal
from storage.catalogue import tenants
from storage.db.database import Database
from storage.db.session import OPERATOR, operator_session, translate_errors
from storage.money import billing
from storage.money.billing import Margin, TenantPrice, Unsent
from wording import needed
from workers.outbox.billing import Biller, Round
from workers.outbox.stripe_meter import StripeMeter

app = typer.Typer(help="Set tenants' prices, report revenue and margin, send usage to Stripe.", no_args_is_help=True)

NOBODY = "none"
_FACTOR = re.compile(r"\d{1,6}(\.\d{1,12})?", re.ASCII)
_CUSTOMER = re.compile(r"[!-~]{1,200}")
_PRICE = ("factor on cost", "USD a call", "USD / M tokens in", "USD / M tokens out")
_MARGIN = ("calls", "cost USD", "of it unpriced", "revenue USD", "margin USD", "margin %")
_STATUS = ("open", "closed", "sent", "waiting", "failed", "held", "billed USD", "carried USD")

Tenant = Annotated[str, typer.Argument(help="Its id, external id or name.")]


class FoundAtStripe(StrEnum):
    """What an operator found at Stripe."""

    SENT = "sent"
    AGAIN = "again"


@app.command("price")
def price_command(
    tenant: Tenant,
    cost_factor: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="Factor on the cost of its calls on the platform's keys.")
    ] = None,
    per_call: Annotated[
        str | None, typer.Option(metavar="USD", help="USD for each call, failed calls included.")
    ] = None,
    input_mtok: Annotated[str | None, typer.Option(metavar="USD", help="USD for a million tokens in.")] = None,
    output_mtok: Annotated[str | None, typer.Option(metavar="USD", help="USD for a million tokens out.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First UTC day of the price; default: today.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set a tenant's price from a day on; without an option, show its price.

    Parts that are not given keep their value of that day. Closed days keep their amounts. The change is written to the
    audit.
    """
    amounts = {
        "cost_factor": None if cost_factor is None else factor(cost_factor),
        "per_call_usd": None if per_call is None else usd(per_call, field="per_call"),
        "input_mtok_usd": None if input_mtok is None else usd(input_mtok, field="input_mtok"),
        "output_mtok_usd": None if output_mtok is None else usd(output_mtok, field="output_mtok"),
    }
    given = any(amount is not None for amount in amounts.values())
    if since is not None and not given:
        raise InvalidInputError("is the first day of a price, and no price is given", field="from", value=since)
    start = _today() if since is None else day(since, field="from")
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        tenant_id = tenants.resolve(connection, tenant).id
        if given:
            billing.set_price(connection, tenant_id, effective_from=start, actor=actor(), **amounts)
        prices = billing.prices(connection, tenant_id)
    if as_json:
        print_json({"tenant_id": tenant_id, "prices": [asdict(one) for one in prices]})
    elif not prices:
        typer.echo("no price: its usage brings nothing and is not billed")
    else:
        print_table(["from (UTC)", *_PRICE], [_price_row(one) for one in prices], numbers=_PRICE)


@app.command("customer")
def customer_command(
    tenant: Tenant,
    customer: Annotated[str, typer.Argument(metavar=f"CUSTOMER|{NOBODY}", help="Its id at Stripe, like cus_….")],
    as_json: Json = False,
) -> None:
    """Set which customer at Stripe a tenant is; written to the audit.

    Its priced days are exported from then on, past ones too. Waiting events go to the new customer.
    """
    if not _CUSTOMER.fullmatch(customer):
        raise InvalidInputError("is not a customer's id", field="customer", value=customer, hint="It looks like cus_….")
    found = None if customer == NOBODY else customer
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        one = tenants.resolve(connection, tenant)
        billing.set_customer(connection, one.id, found, actor=actor())
    if as_json:
        print_json({"tenant_id": one.id, "stripe_customer_id": found})
    else:
        say(f"{one.name}: {found or 'no customer'}")


@app.command("margin")
def margin_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant: its id, external id or name.")] = None,
    since: Annotated[
        str, typer.Option(metavar="DAYS|DATE", help="A number of days, today included, or a first date; UTC.")
    ] = "30",
    as_json: Json = False,
) -> None:
    """Report each tenant's cost, revenue and margin, by the UTC day on which calls were settled.

    A tenant without a price is listed with its cost alone. Calls on a tenant's own key cost the platform nothing.
    """
    today = _today()
    start = first_day(since, today=today)
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        tenant_id = None if tenant is None else tenants.resolve(connection, tenant).id
        rows = billing.margin(connection, since=start, tenant_id=tenant_id)
    if as_json:
        documents = [_margin_document(row) for row in rows]
        print_json({"since": start, "until": today, "rows": documents, "total": _margin_document(total(rows))})
        return
    table = [(row.tenant, *_margin_row(row)) for row in rows]
    if len(rows) > 1:
        table.append(("total", *_margin_row(total(rows))))
    print_table(["tenant", *_MARGIN], table, numbers=_MARGIN)
    typer.echo(f"{start} to {today} (UTC days of settling)")


@app.command("close")
def close_command(as_json: Json = False) -> None:
    """Close past days of tenants that have a price and a customer at Stripe. The scheduler does so by itself."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        closed = billing.close_days(connection)
    if as_json:
        print_json({"closed": [asdict(one) for one in closed]})
    else:
        typer.echo(f"closed {len(closed)} days")


@app.command("send")
def send_command(as_json: Json = False) -> None:
    """Send the waiting closed days to Stripe. The scheduler does so by itself. Exits 1 when some were not sent."""
    settings = Settings()
    meter = stripe_meter(settings)
    with connect(settings, DATABASE) as services:
        url = services.require_ops()
        with translate_errors(url, setting=OPERATOR), Database(url, connections=1, setting=OPERATOR) as database:
            done = send_all(Biller(database, meter))
    stopped = done.stopped_by
    if as_json:
        error = None if stopped is None else stopped.as_dict()
        print_json({"sent": done.sent, "failed": done.failed, "stopped_by": error})
    else:
        typer.echo(f"sent {done.sent}, failed {done.failed}")
        if stopped is not None:
            note(f"stopped: {stopped} [{stopped.code}]")
    if done.failed:
        raise typer.Exit(1)


@app.command("status")
def status_command(as_json: Json = False) -> None:
    """Show the state of each tenant's past days: open, closed, sent, waiting, failed, or held for an operator to
    decide.
    """
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = billing.status(connection)
        unsent = billing.unsent(connection)
    if as_json:
        print_json({"tenants": [asdict(one) for one in found], "unsent": [asdict(one) for one in unsent]})
        return
    print_table(
        ["tenant", "customer", *_STATUS],
        [
            (
                one.tenant,
                one.stripe_customer_id,
                one.open_days,
                one.closed_days,
                one.sent_days,
                one.waiting_days,
                one.failed_days,
                one.held_days,
                one.billed_usd,
                one.carried_usd,
            )
            for one in found
        ],
        numbers=_STATUS,
    )
    if unsent:
        typer.echo()
        print_table(
            ["not sent", "day", "tries", "next (UTC)", "why"], [_unsent_row(one) for one in unsent], numbers=["tries"]
        )


@app.command("resolve")
def resolve_command(
    tenant: Tenant,
    of_day: Annotated[str, typer.Argument(metavar="DAY", help="The UTC day, like 2026-01-31.")],
    found: Annotated[
        FoundAtStripe,
        typer.Argument(help="'sent': Stripe has the event. 'again': Stripe does not have it, so send it again."),
    ],
    as_json: Json = False,
) -> None:
    """Record what you found at Stripe about a day that is held or failed. It is written to the audit."""
    which = day(of_day, field="day")
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        one = tenants.resolve(connection, tenant)
        if not billing.resolve(connection, one.id, which, sent=found is FoundAtStripe.SENT, actor=actor()):
            raise NotFoundError(
                "no event of this day waits", field="day", value=str(which), hint="`headrace billing status` shows all."
            )
    if as_json:
        print_json({"tenant_id": one.id, "day": which, "found": found})
    else:
        say(f"{one.name}, {which}: {found}")


def stripe_meter(settings: Settings) -> StripeMeter:
    """The meter that the settings name.

    :raises ConfigurationError: no key is set.
    """
    key = needed(
        reveal(settings.stripe_api_key),
        "HEADRACE_STRIPE_API_KEY",
        hint="Nothing is sent without it; days wait in the outbox.",
    )
    return StripeMeter(key, event_name=settings.stripe_meter_event, base_url=settings.stripe_base_url)


def send_all(biller: Biller) -> Round:
    """Send rounds until nothing is due any more, or one was stopped."""
    sent = failed = 0
    while True:
        done = biller.send_some()
        sent, failed = sent + done.sent, failed + done.failed
        if done.stopped_by is not None or done.sent + done.failed == 0:
            return Round(sent, failed, done.stopped_by)


def total(rows: Sequence[Margin]) -> Margin:
    """The sum of some rows. There is a revenue only if at least one of them has a price."""
    revenues = [row.revenue_usd for row in rows if row.revenue_usd is not None]
    return Margin(
        tenant="",
        tenant_id=None,
        calls=sum(row.calls for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        unpriced_usd=sum((row.unpriced_usd for row in rows), Decimal(0)),
        revenue_usd=sum(revenues, Decimal(0)) if revenues else None,
    )


def factor(text: str) -> Decimal:
    """A factor as people write it.

    :raises InvalidInputError: it is not a factor.
    """
    if not _FACTOR.fullmatch(text):
        raise InvalidInputError("is not a factor", field="cost_factor", value=text, hint="Write it like 1.2.")
    return Decimal(text)


def day(text: str, *, field: str) -> date:
    """A day as people write it.

    :raises InvalidInputError: it is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInputError("is not a day", field=field, value=text, hint="Write it like 2026-01-31.") from None


def _today() -> date:
    return datetime.now(UTC).date()


def _price_row(one: TenantPrice) -> tuple[object, ...]:
    amounts = (one.cost_factor, one.per_call_usd, one.input_mtok_usd, one.output_mtok_usd)
    return one.effective_from, *(f"{amount:f}" for amount in amounts)


def _margin_row(row: Margin) -> tuple[object, ...]:
    percent = None if row.margin_percent is None else f"{row.margin_percent:.1f}"
    return row.calls, row.cost_usd, row.unpriced_usd or None, row.revenue_usd, row.margin_usd, percent


def _margin_document(row: Margin) -> dict[str, object]:
    percent = None if row.margin_percent is None else round(row.margin_percent, 2)
    facts = asdict(row)
    if row.tenant_id is None:
        del facts["tenant"], facts["tenant_id"]
    return {**facts, "margin_usd": row.margin_usd, "margin_percent": percent}


def _unsent_row(one: Unsent) -> tuple[object, ...]:
    when = "held: look at Stripe" if one.held else one.next_try_at
    return one.tenant, one.day, one.attempts, when, one.error
