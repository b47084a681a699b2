"""``headrace prices``: list prices, bring them up to date, reprice past calls."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

import storage
from console.actor import actor
from console.connect import DATABASE, connect
from console.provisioning import routed_models
from console.terminal import price_report
from console.terminal.amounts import share, usd
from console.terminal.output import Json, note, print_json, say
from errors import InvalidInputError
from router.policy import PROVIDERS, load_policy
from settings import Settings
from storage.catalogue import tenants
from storage.db import names
from storage.db.session import operator_session
from storage.migrate import migrate
from storage.money import price_sync, price_table, prices, repricing
from storage.money.price_sync import Drift
from storage.money.prices import Model, Price
from storage.money.published_prices import read_published
from storage.money.repricing import Mispriced, Period

app = typer.Typer(help="List prices, keep them current, reprice past calls.", no_args_is_help=True)

REVIEWED = Path(storage.__file__).parent / "money" / "prices.csv"
"""The reviewed prices of every model that the shipped routing policy can reach."""
_MAY_BE_NEGATIVE = {"ignore_unknown_options": True}  # so that -5 is refused as a number, not as an option


@app.command("list")
def list_command(
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None, as_json: Json = False
) -> None:
    """List every price row with the date from which it is in force, in USD per million tokens."""
    with connect(Settings(), DATABASE) as services, operator_session(services.require_ops()) as connection:
        if model is not None:
            prices.check_model(connection, model)
        rows = prices.list_prices(connection, model)
        now = prices.moment(connection)
    price_report.tell_prices(rows, now, as_json=as_json)


@app.command("sync")
def sync_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be added, and add nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Add the prices of routed models that genai-prices has and the database does not.

    Models with a price by hand are left alone, and named.
    """
    settings = Settings()
    models = routed_models(load_policy(settings.routing_policy))
    with connect(settings, DATABASE) as services:
        found = sync(services.require_ops(), models, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **price_report.as_document(found.changes, found.by_hand)})
        return
    price_report.tell_changes(found.changes, found.by_hand)
    if not found.changes:
        typer.echo("Prices were up to date.")
    else:
        typer.echo(f"{len(found.changes)} new price rows{': none was added' if dry_run else ''}.")


@app.command("diff")
def diff_command(
    file: Annotated[
        Path | None,
        typer.Option(help="A table of your own, for the routing policy that is set; default: the shipped table."),
    ] = None,
    database: Annotated[bool, typer.Option("--database", help="Compare the database instead of a file.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the prices of genai-prices into the file.")] = False,
    as_json: Json = False,
) -> None:
    """Show how the reviewed prices and those of the installed genai-prices have drifted apart. Exits 1 when they have.

    Comparing the file needs no service at all.
    """
    if database and (write or file):
        raise InvalidInputError("compares the database, not a file", field="database", hint="Leave the others out.")
    settings = Settings()
    if database:
        models = routed_models(load_policy(settings.routing_policy))
        with connect(settings, DATABASE) as services:
            found = sync(services.require_ops(), models, dry_run=True)
    else:
        models = routed_models(load_policy(None if file is None else settings.routing_policy))
        found = diff(file or REVIEWED, models, write=write)
    if as_json:
        print_json(price_report.as_document(found.changes, found.by_hand))
    else:
        price_report.tell_changes(found.changes, found.by_hand)
        if not found.changes:
            typer.echo("No drift.")
    if found.changes and not write:
        note(
            "`headrace prices sync` brings the database up to date."
            if database
            else "Look at each; `headrace prices diff --write` takes them over into the file."
        )
        raise typer.Exit(1)


@app.command("add", context_settings=_MAY_BE_NEGATIVE)
def add_command(
    provider: Annotated[str, typer.Argument(help="The provider, as the routing policy names it.")],
    model: Annotated[str, typer.Argument(help="The model.")],
    input_: Annotated[str, typer.Option("--input", metavar="USD", help="Input.")],
    output: Annotated[str, typer.Option(metavar="USD", help="Output, reasoning included.")],
    cached_input: Annotated[
        str | None, typer.Option(metavar="USD", help="Input read from the cache; default: --input.")
    ] = None,
    cache_write: Annotated[
        str | None, typer.Option(metavar="USD", help="Input written to the cache; default: --input.")
    ] = None,
    long_from: Annotated[int | None, typer.Option(min=1, help="A prompt with more tokens counts as long.")] = None,
    long_input: Annotated[str | None, typer.Option(metavar="USD", help="Input of a long prompt.")] = None,
    long_output: Annotated[str | None, typer.Option(metavar="USD", help="Output after a long prompt.")] = None,
    long_cached_input: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Input of a long prompt read from the cache; default: --long-input."),
    ] = None,
    long_cache_write: Annotated[
        str | None,
        typer.Option(metavar="USD", help="Input of a long prompt written to the cache; default: --long-input."),
    ] = None,
    batch_discount: Annotated[
        str | None, typer.Option(metavar="PART", help="The discount of a provider's batch, such as 0.5; default: none.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DATE", help="First instant of the price, UTC: a date or an instant; default: now."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a price by hand, in USD per million tokens. From then on the model's prices are kept by hand only.

    It is written to the audit. Runs that have already started keep their price until `headrace prices reprice`.
    """

    if provider not in PROVIDERS:
        raise InvalidInputError(
            "no such provider", field="provider", value=provider, hint=names.did_you_mean(provider, PROVIDERS)
        )

    def rate(name: str, text: str | None) -> dict[str, object]:
        return {} if text is None else {f"{name}_usd": usd(text, field=name)}

    long = (long_from, long_input, long_output)
    if any(one is None for one in long) != all(one is None for one in (*long, long_cached_input, long_cache_write)):
        raise InvalidInputError("needs its input and its output rate", field="long_from", value=long_from)
    facts = {
        **rate("input", input_), **rate("output", output), **rate("cached_input", cached_input),
        **rate("cache_write", cache_write), **rate("long_input", long_input), **rate("long_output", long_output),
        **rate("long_cached_input", long_cached_input), **rate("long_cache_write", long_cache_write),
    }  # fmt: skip
    if batch_discount is not None:
        facts["batch_discount"] = share(batch_discount, field="batch_discount")
    start = None if from_ is None else instant(from_, field="from")
    # Only the schema: provisioning refuses a policy that names a model whose price is not there yet.
    with (
        connect(Settings(), DATABASE, prepare=migrate) as services,
        operator_session(services.require_ops()) as connection,
    ):
        price = Price(
            provider=provider,
            model=model,
            effective_from=start or prices.moment(connection),
            long_from=long_from,
            **facts,  # type: ignore[arg-type]  # each is an amount
        )
        prices.add_by_hand(connection, price, actor=actor())
    if as_json:
        print_json({"provider": provider, "model": model, "effective_from": price.effective_from, **price.rates()})
    else:
        say(f"{provider}:{model} from {price.effective_from.isoformat()}")


@app.command("reprice")
def reprice_command(
    since: Annotated[str, typer.Option(metavar="DATE", help="Runs that started at this time or later, UTC.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Runs that started up to this time: the end of a date, or an instant; default: now."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant: its id, external id or name.")] = None,
    reason: Annotated[str | None, typer.Option(help="The reason, for the audit.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the differences, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Reprice runs for which another price row is in force by now than when they were priced.

    The difference is booked in the hour of each run's start, and on today's bill. An audit row holds the user and the
    reason.
    """
    if not dry_run and not (reason or "").strip():
        raise InvalidInputError("is missing", field="reason", hint="Give the reason, for the audit.")
    start = instant(since, field="since")
    end = None if until is None else instant(until, field="until", end_of_day=True)
    with connect(Settings(), DATABASE) as services:
        period, done = reprice(
            services.require_ops(), start, end, model=model, tenant=tenant, reason=None if dry_run else reason
        )
    price_report.tell_repriced(period, done, dry_run=dry_run, as_json=as_json)


def sync(ops_url: str, models: set[Model], *, dry_run: bool) -> Drift:
    """Bring the prices of models up to date, or only look; the prices that were, or would be, added."""
    with operator_session(ops_url) as connection, connection.transaction():
        return price_sync.drift(connection, models) if dry_run else price_sync.sync(connection, models)


def diff(file: Path, models: set[Model], *, write: bool) -> Drift:
    """The differences between the published prices of models and a file's; with ``write`` they are put into the file.

    :raises InvalidInputError: there is no such file (and none is to be written), or it is not a table of prices.
    """
    announced = read_published(sorted(models))
    try:
        reviewed = price_table.read_table(file.read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        if not write:
            hint = "`headrace prices diff --write` makes it."
            raise InvalidInputError("is not a table of prices", field="file", value=str(file), hint=hint) from error
        reviewed = []
    if write:
        file.write_text(price_table.write_table(announced), "utf-8")
    return Drift(price_table.compare_tables(reviewed, announced), [])


def reprice(
    ops_url: str, since: datetime, until: datetime | None, *, model: str | None, tenant: str | None, reason: str | None
) -> tuple[Period, list[Mispriced]]:
    """Reprice runs in the name of the user of this command; without a reason only show the differences.

    Returns the period, and the differences, one row a tenant.
    """
    with operator_session(ops_url) as connection:
        if model is not None:
            prices.check_model(connection, model)
        period = Period(since, until or prices.moment(connection), model)
        if period.until <= since:
            raise InvalidInputError("is not before the end", field="since", value=since.isoformat())
        tenant_id = None if tenant is None else tenants.resolve(connection, tenant).id
        found = repricing.mispriced(connection, period, tenant_id=tenant_id)
        if reason is None:
            return period, found
        return period, [repricing.reprice_all(connection, one, period, actor=actor(), reason=reason) for one in found]


def instant(text: str, *, field: str, end_of_day: bool = False) -> datetime:
    """The instant that a date or an ISO instant means, UTC unless it says otherwise.

    ``end_of_day``: a date means its end.

    :raises InvalidInputError: it is neither.
    """
    try:
        if len(text) == len("2026-01-31"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if end_of_day else day
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        hint = "Write 2026-01-31 or 2026-01-31T09:30:00Z."
        raise InvalidInputError("is neither a date nor an instant", field=field, value=text, hint=hint) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
