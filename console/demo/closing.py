"""What the demo ends with: every figure is read back from Postgres (docs/how-to/read-spend.md shows the SQL)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from storage import report
from storage.connect import Connection


def closing(console: Console, connection: Connection, tenants: Sequence[UUID], *, flooder: str) -> bool:
    """Print the owner's report; whether the books agree to the last digit."""
    _answers(console, report.answers(connection, tenants))
    _table(
        console,
        "By tenant: endings, wait for the first claim, spend",
        [
            ("tenant", lambda row: row["tenant"] + ("  ← floods" if row["tenant"] == flooder else "")),
            ("plan", lambda row: row["plan"]),
            ("jobs", lambda row: row["jobs"]),
            ("answered", lambda row: row["succeeded"]),
            ("stopped by a cap", lambda row: row["stopped_by_cap"]),
            ("other", lambda row: row["other"]),
            ("wait p50", lambda row: _seconds(row["wait_p50_s"])),
            ("wait p95", lambda row: _seconds(row["wait_p95_s"])),
            ("spent", lambda row: _usd(row["cost_usd"])),
            ("daily cap", lambda row: f"${row['cap_usd']}"),
        ],
        report.by_tenant(connection, tenants),
    )
    _table(
        console,
        "Spend by feature",
        [
            ("feature", lambda row: row["feature"]),
            ("calls", lambda row: row["calls"]),
            ("tokens in", lambda row: row["input_tokens"]),
            ("tokens out", lambda row: row["output_tokens"]),
            ("spent", lambda row: _usd(row["cost_usd"])),
        ],
        report.by_feature(connection, tenants),
    )
    _table(
        console,
        "Spend by model, and how its calls went",
        [
            ("model", lambda row: f"{row['provider']} {row['model']}"),
            ("calls", lambda row: row["calls"]),
            ("answered", lambda row: row["answered"]),
            ("failed", lambda row: row["failed"]),
            ("outcome unknown", lambda row: row["unknown"]),
            ("spent", lambda row: _usd(row["cost_usd"])),
        ],
        report.by_model(connection, tenants),
    )
    _table(
        console,
        "Spend by user: the first eight",
        [
            ("tenant", lambda row: row["tenant"]),
            ("user", lambda row: row["user_id"]),
            ("calls", lambda row: row["calls"]),
            ("spent", lambda row: _usd(row["cost_usd"])),
        ],
        report.by_user(connection, tenants),
    )
    _table(
        console,
        "Routed cheap or strong, and by which rule",
        [("tier", lambda row: row["tier"]), ("rule", lambda row: row["rule"]), ("jobs", lambda row: row["jobs"])],
        report.routing(connection, tenants),
    )
    _table(
        console,
        "Answered by the backup provider",
        [
            ("answered by", lambda row: row["answered_by"]),
            ("jobs", lambda row: row["jobs"]),
            ("of them with the breaker open", lambda row: row["breaker_was_open"]),
            ("because of", lambda row: row["because"]),
        ],
        report.fallbacks(connection, tenants),
    )
    return _books(console, report.books(connection, tenants))


def _answers(console: Console, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        asked = next((str(value) for name, value in sorted(row["asked"].items()) if name in _QUESTIONS), "")
        console.print(
            Panel(
                f"[dim]{escape(_short(asked, 220))}[/dim]\n\n{escape(_short(_readable(row['output']), 600))}",
                title=f"{escape(row['tenant'])} · {row['feature']} · {row['user_id']}",
                subtitle=f"{row['model']} · {_usd(row['cost_usd'])}",
                title_align="left",
                subtitle_align="left",
            )
        )


_QUESTIONS = ("ticket", "clause", "question")


def _readable(output: str) -> str:
    try:
        return json.dumps(json.loads(output), ensure_ascii=False, indent=1)
    except ValueError:
        return output


def _table(console: Console, title: str, columns: Sequence[tuple[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, _ in columns:
        numeric = bool(rows) and isinstance(rows[0].get(name), int)
        table.add_column(name, justify="right" if numeric or name in _RIGHT else "left")
    for row in rows:
        table.add_row(*[escape(str(cell(row))) for _, cell in columns])
    if rows:
        console.print(table)
    else:
        console.print(f"[bold]{title}[/bold]: none")


_RIGHT = frozenset(
    ("jobs", "calls", "answered", "failed", "spent", "daily cap", "wait p50", "wait p95", "stopped by a cap", "other")
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
