"""The demo's closing report: every figure is read back from Postgres (docs/how-to/read-spend.md shows the SQL)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from console.terminal.output import make_printable, print_table
from storage.db.connect import Connection
from storage.money import report

Columns: TypeAlias = list[tuple[str, str, Callable[[Any], str]]]
_QUESTIONS = ("ticket", "clause", "question")  # the variables that hold the input


def closing(console: Console, connection: Connection, tenants: Sequence[UUID], *, flooder: str) -> bool:
    """Print the owner's report; returns whether the books agree to the last digit."""
    _answers(console, report.answers(connection, tenants))
    for title, query, columns in _tables(flooder):
        _table(console, title, columns, query(connection, tenants))
    return _books(console, report.books(connection, tenants))


def _tables(flooder: str) -> list[tuple[str, Callable[[Connection, Sequence[UUID]], report.Rows], Columns]]:
    """Each table: its title, the statement that reads it, and its columns (heading, field, format)."""
    calls_and_spend: Columns = [("calls", "calls", str), ("spent", "cost_usd", _usd)]
    return [
        (
            "By tenant: endings, wait for the first claim, spend",
            report.by_tenant,
            [
                ("tenant", "tenant", lambda name: f"{name}  ← floods" if name == flooder else name),
                ("plan", "plan", str),
                ("jobs", "jobs", str),
                ("answered", "succeeded", str),
                ("stopped by a cap", "stopped_by_cap", str),
                ("other", "other", str),
                ("wait p50", "wait_p50_s", _seconds),
                ("wait p95", "wait_p95_s", _seconds),
                ("spent", "cost_usd", _usd),
                ("daily cap", "cap_usd", lambda cap: f"${cap}"),
            ],
        ),
        (
            "Spend by feature",
            report.by_feature,
            [
                ("feature", "feature", str),
                ("tokens in", "input_tokens", str),
                ("tokens out", "output_tokens", str),
                *calls_and_spend,
            ],
        ),
        (
            "Spend by model, and how its calls went",
            report.by_model,
            [
                ("provider", "provider", str),
                ("model", "model", str),
                ("answered", "answered", str),
                ("failed", "failed", str),
                ("outcome unknown", "unknown", str),
                *calls_and_spend,
            ],
        ),
        (
            "Spend by user: the first eight",
            report.by_user,
            [("tenant", "tenant", str), ("user", "user_id", str), *calls_and_spend],
        ),
        (
            "Routed cheap or strong, and by which rule",
            report.routing,
            [("tier", "tier", str), ("rule", "rule", str), ("jobs", "jobs", str)],
        ),
        (
            "Answered by the backup provider",
            report.fallbacks,
            [
                ("answered by", "answered_by", str),
                ("jobs", "jobs", str),
                ("of them with the breaker open", "breaker_was_open", str),
                ("because of", "because", str),
            ],
        ),
    ]


def _answers(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        asked = next((str(value) for name, value in sorted(row["asked"].items()) if name in _QUESTIONS), "")
        console.print(
            Panel(
                f"[dim]{_told(_short(asked, 220))}[/dim]\n\n{_told(_short(_readable(row['output']), 600))}",
                title=_told(f"{row['tenant']} · {row['feature']} · {row['user_id']}"),
                subtitle=f"{row['model']} · {_usd(row['cost_usd'])}",
                title_align="left",
                subtitle_align="left",
            )
        )


def _told(text: str) -> str:
    """Text from outside, without markup and without characters that could steer a terminal."""
    return escape(make_printable(text))


def _readable(output: str) -> str:
    try:
        return json.dumps(json.loads(output), ensure_ascii=False, indent=1)
    except ValueError:
        return output


def _table(console: Console, title: str, columns: Columns, rows: report.Rows) -> None:
    if not rows:
        console.print(f"[bold]{title}[/bold]: none")
        return
    console.print(f"\n[bold]{title}[/bold]")
    print_table(
        [heading for heading, _, _ in columns],
        [[written(row[field]) for _, field, written in columns] for row in rows],
        numbers=[heading for heading, field, _ in columns if not isinstance(rows[0][field], str)],
    )


def _books(console: Console, books: dict[str, Decimal]) -> bool:
    agree = books["runs_usd"] == books["rollup_usd"] == books["ledger_usd"] and books["still_reserved_usd"] == 0
    if agree:
        console.print(
            f"The books agree to the last digit: runs = rollup = ledger = ${_plain(books['runs_usd'])}, "
            "nothing is reserved any more."
        )
    else:
        console.print(f"[red]The books do not agree:[/red] {books}")
    return agree


def _usd(amount: Decimal) -> str:
    return f"${amount:.6f}"


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"


def _seconds(value: Any) -> str:
    return "–" if value is None else f"{float(value):.2f} s"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
