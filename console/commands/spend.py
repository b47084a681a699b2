"""``headrace spend``: what was spent, by whole UTC days."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import typer

from console.output import Json, print_json, print_table
from console.reach import DATABASE, reach
from errors import InvalidInputError
from settings import Settings
from storage import spend as spent
from storage import tenants
from storage.session import session
from storage.spend import By, Spend

_DAYS = re.compile(r"(\d{1,4})d?", re.ASCII)
_READ = {
    By.TENANT: spent.by_tenant,
    By.USER: spent.by_user,
    By.FEATURE: spent.by_feature,
    By.MODEL: spent.by_model,
}
_NAMES = {
    By.TENANT: ("tenant",),
    By.USER: ("tenant", "user"),
    By.FEATURE: ("feature",),
    By.MODEL: ("provider", "model"),
}
_FIGURES = ("calls", "failed", "tokens in", "tokens out", "cost USD")


def spend(
    by: Annotated[By, typer.Option(help="A row for each of these.")] = By.TENANT,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant: its id, external id or name.")] = None,
    since: Annotated[
        str, typer.Option(metavar="DAYS|DATE", help="So many days, today one of them, or since a date; UTC.")
    ] = "7",
    as_json: Json = False,
) -> None:
    """Say what was spent: calls, tokens and cost of whole UTC days.

    A call belongs to the day of its start.
    """
    today = datetime.now(UTC).date()
    start = first_day(since, today=today)
    with reach(Settings(), DATABASE) as services, session(services.require_ops()) as connection:
        tenant_id = None if tenant is None else tenants.resolve(connection, tenant).id
        rows = _READ[by](connection, since=start, tenant_id=tenant_id)
    if as_json:
        document = {"by": by, "since": start, "until": today, "rows": [_as_document(row) for row in rows]}
        print_json({**document, "total": _as_document(spent.total(rows))})
        return
    table = [(*(row.of[name] for name in _NAMES[by]), *_figures(row)) for row in rows]
    if len(rows) > 1:
        table.append(("total", *("" for _ in _NAMES[by][1:]), *_figures(spent.total(rows))))
    print_table([*_NAMES[by], *_FIGURES], table, numbers=_FIGURES)
    typer.echo(f"{start} to {today} (UTC days)")


def first_day(since: str, *, today: date) -> date:
    """The first day that ``since`` means: ``7`` and ``7d`` are today and the six days before it.

    :raises InvalidInputError: it is neither a number of days nor a date that has come.
    """
    days = _DAYS.fullmatch(since)
    if days and int(days[1]) >= 1:
        return today - timedelta(days=int(days[1]) - 1)
    try:
        start = date.fromisoformat(since)
    except ValueError:
        hint = "Spend is kept by whole days: write 7 or 2026-01-31."
        raise InvalidInputError(
            "is neither a number of days nor a date", field="since", value=since, hint=hint
        ) from None
    if start > today:
        raise InvalidInputError("lies ahead", field="since", value=since, hint=f"Today is {today} (UTC).")
    return start


def _figures(row: Spend) -> tuple[object, ...]:
    return row.calls, row.failed_calls, row.input_tokens, row.output_tokens, row.cost_usd


def _as_document(row: Spend) -> dict[str, object]:
    return {
        **row.of,
        "calls": row.calls,
        "failed_calls": row.failed_calls,
        "input_tokens": row.input_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": row.cost_usd,
    }
