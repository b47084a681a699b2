"""The output of ``headrace prices``: rows, differences between rows, and the result of repricing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer

from console.terminal.output import cell, print_json, print_table, say
from storage.money.prices import RATES, Change, Model, Price, in_force
from storage.money.repricing import Mispriced, Period

_HEADS = {
    "input_usd": "input",
    "cached_input_usd": "cached input",
    "cache_write_usd": "cache write",
    "output_usd": "output",
    "long_from": "long from",
    "long_input_usd": "long input",
    "long_cached_input_usd": "long cached input",
    "long_cache_write_usd": "long cache write",
    "long_output_usd": "long output",
    "batch_discount": "batch discount",
}
_HELD_LONGEST = ("input", "output")  # columns that a narrow terminal drops, and so shows fewer rates


def tell_prices(rows: Sequence[Price], now: datetime, *, as_json: bool) -> None:
    """Every row, and which row of each model is in force."""
    current = set(in_force(rows, now).values())
    if as_json:
        print_json({"prices": [{**asdict(row), "in_force": row in current} for row in rows]})
        return
    heads = [_HEADS[name] for name in RATES]
    print_table(
        ["provider", "model", "from (UTC)", "in force", *heads, "source"],
        [
            (*row.of, row.effective_from, row in current, *(_rate(value) for value in row.rates().values()), row.source)
            for row in rows
        ],
        numbers=heads,
        spare=["source", *reversed([head for head in heads if head not in _HELD_LONGEST])],
    )
    typer.echo("USD per million tokens")


def tell_changes(changes: Sequence[Change], by_hand: Sequence[Model]) -> None:
    """Each change, a line a rate."""
    if changes:
        print_table(
            ["provider", "model", "from (UTC)", "what", "rate", "before", "after"],
            [
                (*change.row.of, change.row.effective_from, change.kind, _HEADS[name], _rate(before), _rate(after))
                for change in changes
                for name, (before, after) in change.rates().items()
            ],
            numbers=["before", "after"],
        )
    for provider, model in by_hand:
        say(f"left alone, priced by hand: {provider}:{model}")


def as_document(changes: Sequence[Change], by_hand: Sequence[Model]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "changes": [
            {
                "provider": change.row.provider,
                "model": change.row.model,
                "effective_from": change.row.effective_from,
                "kind": change.kind,
                "rates": {name: {"before": before, "after": after} for name, (before, after) in change.rates().items()},
            }
            for change in changes
        ],
        "by_hand": [{"provider": provider, "model": model} for provider, model in by_hand],
    }


def tell_repriced(period: Period, done: Sequence[Mispriced], *, dry_run: bool, as_json: bool) -> None:
    """The result of repricing, done or simulated, one row a tenant."""
    runs = sum(one.runs for one in done)
    before = sum((one.before_usd for one in done), Decimal(0))
    after = sum((one.after_usd for one in done), Decimal(0))
    if as_json:
        total = {"runs": runs, "before_usd": before, "after_usd": after}
        print_json({"dry_run": dry_run, **asdict(period), "tenants": [asdict(one) for one in done], "total": total})
        return
    table = [(one.tenant, one.runs, one.before_usd, one.after_usd, one.after_usd - one.before_usd) for one in done]
    if len(done) > 1:
        table.append(("total", runs, before, after, after - before))
    if table:
        figures = ["runs", "before USD", "after USD", "difference USD"]
        print_table(["tenant", *figures], table, numbers=figures)
    what = "would be repriced" if dry_run else "repriced"
    typer.echo(f"{runs} runs {what} ({cell(period.since)} to {cell(period.until)} UTC)")


def _rate(value: Decimal | int | None) -> str:
    """A rate to its last digit, because rates are reviewed."""
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)
