"""``headrace spend``: spend by day, forecasts of caps, accuracy of estimates, and unusual spend."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import typer

from console.connect import DATABASE, connect
from console.terminal import charts, export
from console.terminal.export import ColumnKind
from console.terminal.output import Json, count_of, note, print_json, print_table, say
from errors import InvalidInputError
from settings import Settings
from storage.catalogue import tenants
from storage.db.session import operator_session
from storage.money import spend as spent
from storage.money import spend_unusual as rule
from storage.money.spend import By, Spend, Unusual
from storage.money.spend_forecast import HORIZON_HOURS, Forecast, forecast

app = typer.Typer()

_DAYS = re.compile(r"(\d{1,4})d?", re.ASCII)
_FIGURES = ("calls", "failed", "tokens in", "tokens out", "cost USD")
_NONE = "–"

Tenant = Annotated[str | None, typer.Option(help="Only this tenant: its id, external id or name.")]
Since = Annotated[
    str, typer.Option(metavar="DAYS|DATE", help="A number of days, today included, or a first date; UTC.")
]


@app.callback(invoke_without_command=True)
def spend(
    context: typer.Context,
    by: Annotated[
        list[By] | None,
        typer.Option(help="Group by these; may be given several times. Default: tenant."),
    ] = None,
    tenant: Tenant = None,
    since: Since = "7",
    until: Annotated[str | None, typer.Option(metavar="DATE", help="The last day, included; default: today.")] = None,
    chart: Annotated[bool, typer.Option("--chart", help="Draw a chart as well.")] = False,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the rows as CSV; - is standard output.")
    ] = None,
    parquet: Annotated[str | None, typer.Option(metavar="FILE", help="Write the rows as Parquet.")] = None,
    as_json: Json = False,
) -> None:
    """Report spend: calls, tokens and cost by UTC day.

    A call belongs to the day on which it started.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context)
        return
    if csv == export.STANDARD_OUTPUT and as_json:
        raise InvalidInputError("is standard output, where --json goes", field="csv", hint="Name a file.")
    if parquet == export.STANDARD_OUTPUT:
        raise InvalidInputError("is binary and goes to a file", field="parquet", value=parquet, hint="Name the file.")
    told = by or [By.TENANT]
    first, last = period(since, until, today=_today())
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        tenant_id = None if tenant is None else tenants.resolve(connection, tenant).id
        rows = spent.rollup(connection, told, since=first, until=last, tenant_id=tenant_id)
    _export(rows, told, csv=csv, parquet=parquet)
    if csv == export.STANDARD_OUTPUT:
        return
    if as_json:
        document = {"by": ",".join(dict.fromkeys(told)), "since": first, "until": last}
        rows_and_total = {"rows": [_as_document(row) for row in rows], "total": _as_document(spent.total(rows))}
        print_json({**document, **rows_and_total})
        return
    _print(rows, told, first, last)
    if chart:
        _draw(rows, told, first, last)


@app.command("forecast")
def forecast_command(
    tenant: Tenant = None,
    hours: Annotated[
        int,
        typer.Option(min=1, max=24, help="The pace is that of the running hour and this many whole hours before it."),
    ] = 3,
    as_json: Json = False,
) -> None:
    """Forecast when each tenant reaches its cap at its present pace, soonest first."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        tenant_id = None if tenant is None else tenants.resolve(connection, tenant).id
        found = [forecast(window, hours=hours) for window in spent.windows(connection, tenant_id=tenant_id)]
    found.sort(key=lambda one: (one.meets_cap_at is None, one.meets_cap_at or one.window.now, -one.pace_usd))
    if as_json:
        print_json({"hours": hours, "horizon_hours": HORIZON_HOURS, "tenants": [_forecast(one) for one in found]})
        return
    money = ("cap USD", "spent 24 h", "reserved", "USD an hour", "spent today", "expected today")
    print_table(
        ["tenant", *money[:4], "meets its cap (UTC)", *money[4:]],
        [
            (
                one.window.tenant,
                one.window.limit_usd,
                one.window.spent_usd,
                one.window.reserved_usd,
                one.pace_usd,
                _when(one),
                one.today_usd,
                one.day_usd,
            )
            for one in found
        ],
        numbers=money,
    )
    say(f"at the pace of the last {hours} whole hours and the running one; cost on the platform's keys")


@app.command("estimates")
def estimates_command(since: Since = "7", as_json: Json = False) -> None:
    """Compare what was reserved with what was billed, by model."""
    first = first_day(since, today=_today())
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = spent.estimates(connection, since=first)
    if as_json:
        print_json({"since": first, "models": [asdict(one) for one in found]})
        return
    numbers = (
        "calls", "reserved USD", "billed USD", "billed/reserved", "p50", "p95", "max", "over", "over by USD", "refused",
        "unknown", "unknown USD",
    )  # fmt: skip
    print_table(["provider", "model", *numbers], [tuple(asdict(one).values()) for one in found], numbers=numbers)
    say(f"calls since {first} (UTC); refused and unknown ones are in no other column")


@app.command("unusual")
def unusual_command(since: Since = "1", as_json: Json = False) -> None:
    """List the users and features that spend far more than their own history."""
    first = first_day(since, today=_today())
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        found = spent.unusual(connection, since=first)
    if as_json:
        print_json({"since": first, "rows": [_unusual(one) for one in found]})
        return
    numbers = ("spent USD", "median USD", "usual up to USD", "days")
    print_table(
        ["day", "tenant", "what", "who", *numbers],
        [
            (
                one.what.day,
                one.what.tenant,
                one.what.scope,
                one.what.key,
                one.what.spent_usd,
                one.median_usd,
                one.bound_usd,
                one.days,
            )
            for one in found
        ],
        numbers=numbers,
    )
    say(
        f"days since {first} (UTC) over {rule.TIMES_MEDIAN} × the median, over the mean + {rule.DEVIATIONS} standard "
        f"deviations, and over {rule.FLOOR_USD} USD"
    )


def period(since: str, until: str | None, *, today: date) -> tuple[date, date]:
    """The first and the last chosen day; a number of days ends with the last.

    :raises InvalidInputError: one of them is not a day, or they are in the wrong order.
    """
    if until is None:
        return first_day(since, today=today), today
    last = _day(until, field="until")
    if _DAYS.fullmatch(since):
        return first_day(since, today=last), last
    first = first_day(since, today=max(today, last))
    if last < first:
        raise InvalidInputError("is before the first day", field="until", value=until, hint=f"That is {first}.")
    return first, last


def first_day(since: str, *, today: date) -> date:
    """The first day that ``since`` means: ``7`` and ``7d`` are today and the six days before it.

    :raises InvalidInputError: it is neither a number of days nor a date that has come.
    """
    days = _DAYS.fullmatch(since)
    if days and int(days[1]) >= 1:
        return today - timedelta(days=int(days[1]) - 1)
    start = _day(since, field="since", or_days=True)
    if start > today:
        raise InvalidInputError("is in the future", field="since", value=since, hint=f"Today is {today} (UTC).")
    return start


def _day(text: str, *, field: str, or_days: bool = False) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = "is neither a number of days nor a date" if or_days else "is not a date"
        hint = f"Spend is kept by whole days: write {'7 or ' if or_days else ''}2026-01-31."
        raise InvalidInputError(message, field=field, value=text, hint=hint) from None


def _today() -> date:
    return datetime.now(UTC).date()


def _refuse_options_before(context: typer.Context) -> None:
    """Refuse an option of the rollup before a subcommand, where it would do nothing."""
    for one in context.command.params:
        source = context.get_parameter_source(one.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidInputError(
                f"stands before {context.invoked_subcommand}, where it means nothing",
                field=one.opts[0],
                hint=f"Options come after it: `headrace spend {context.invoked_subcommand} …`.",
            )


# ---------------------------------------------------------------------------------------------------- the report


def _export(rows: Sequence[Spend], by: Collection[By], *, csv: str | None, parquet: str | None) -> None:
    documents = [_as_document(row) for row in rows]
    columns = {name: _kind(name) for name in (*spent.names(by), *spent.FIGURES)}
    if parquet is not None:
        export.write_parquet(parquet, columns, documents)
        note(f"{count_of(len(rows), 'row')} in {parquet}")
    if csv is not None:
        export.write_csv(csv, columns, documents)
        if csv != export.STANDARD_OUTPUT:
            note(f"{count_of(len(rows), 'row')} in {csv}")


def _kind(column: str) -> ColumnKind:
    if column.endswith("_usd"):
        return ColumnKind.USD
    if column == "version" or column.endswith(("calls", "_tokens")):
        return ColumnKind.WHOLE
    return ColumnKind.DAY if column == "day" else ColumnKind.TEXT


def _print(rows: Sequence[Spend], by: Collection[By], first: date, last: date) -> None:
    names = [name for name in spent.names(by) if not name.endswith("_id")]
    table = [(*_of(row, names), *_figures(row)) for row in rows]
    everything = spent.total(rows)
    if len(rows) > 1:
        table.append(("total", *("" for _ in names[1:]), *_figures(everything)))
    print_table([*names, *_FIGURES], table, numbers=_FIGURES)
    typer.echo(f"{first} to {last} (UTC days)")
    if everything.over_calls:
        say(
            f"billed beyond what was reserved: {everything.over_calls} calls, by {everything.over_reserved_usd:f} USD "
            "in all (see `headrace spend estimates`)"
        )


def _draw(rows: Sequence[Spend], by: Collection[By], first: date, last: date) -> None:
    """Columns by day if rows are by day; else bars."""
    names = [name for name in spent.names(by) if name != "day" and not name.endswith("_id")]
    by_day: dict[date, list[Decimal]] = defaultdict(list)
    by_rest: dict[tuple[object, ...], list[Decimal]] = defaultdict(list)
    labels: dict[tuple[object, ...], str] = {}
    for row in rows:
        day = row.of.get("day")
        if isinstance(day, date):
            by_day[day].append(row.cost_usd)
        whose = tuple(value for name, value in row.of.items() if name != "day")
        by_rest[whose].append(row.cost_usd)
        labels[whose] = " ".join(str(value) for value in _of(row, names))
    if By.DAY in by:
        typer.echo()
        days = {day: spent.exact_sum(amounts) for day, amounts in by_day.items()}
        charts.print_columns(days, first=first, last=last)
    if names:
        typer.echo()
        sums = [(labels[whose], spent.exact_sum(amounts)) for whose, amounts in by_rest.items()]
        charts.print_bars(sorted(sums, key=lambda one: -one[1]))


def _of(row: Spend, names: Sequence[str]) -> list[object]:
    return [_NONE if row.of[name] is None else row.of[name] for name in names]


def _figures(row: Spend) -> tuple[object, ...]:
    return row.calls, row.failed_calls, row.input_tokens, row.output_tokens, row.cost_usd


def _as_document(row: Spend) -> dict[str, object]:
    return {**row.of, **{name: getattr(row, name) for name in spent.FIGURES}}


def _forecast(one: Forecast) -> dict[str, object]:
    meets = "now" if one.met_now else "later" if one.meets_cap_at else "not_within_horizon"
    return {
        "tenant": one.window.tenant,
        "tenant_id": one.window.tenant_id,
        "cap_usd": one.window.limit_usd,
        "spent_usd": one.window.spent_usd,
        "reserved_usd": one.window.reserved_usd,
        "pace_usd_per_hour": one.pace_usd,
        "meets_cap": meets,
        "meets_cap_at": one.meets_cap_at,
        "today_usd": one.today_usd,
        "expected_today_usd": one.day_usd,
    }


def _when(one: Forecast) -> object:
    if one.met_now:
        return "now"
    return one.meets_cap_at or f"not within {HORIZON_HOURS} h"


def _unusual(one: Unusual) -> dict[str, object]:
    rule_says = {name: value for name, value in asdict(one).items() if name != "what"}
    return {**asdict(one.what), **rule_says}
