"""What commands print: tables for people, JSON for programs. Results go to standard output, all else to error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from storage.reading import Unreadable

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The option that every command has."""
LogJson = Annotated[bool, typer.Option("--json", help="Log in JSON lines, and tell of an error in JSON.")]
"""The same for a command that runs until it is told to stop."""

_WIDE = 10_000  # columns of what is no terminal: a table in a pipe is not folded
_USD_PLACES = 6


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document. Money becomes an exact string, an instant ISO 8601, an id text."""
    typer.echo(dumped(document, indent=2 if sys.stdout.isatty() else None))


def dumped(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON."""
    return json.dumps(value, default=_as_json, indent=indent)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = (), to_error: bool = False
) -> None:
    """Print a table for people. ``numbers`` names the columns that are aligned to the right."""
    table = Table(
        *(Column(name, justify="right" if name in numbers else "left", overflow="fold") for name in columns),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    screen(to_error=to_error).print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values in two columns, leaving out what is not there."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value is not None:
            table.add_row(Text(name, style="bold"), Text(cell(value)))
    screen().print(table)


def note(text: str) -> None:
    """Say something on standard error that is no part of the result."""
    screen(to_error=True).print(Text(printable(text)), soft_wrap=True)


def screen(*, to_error: bool = False) -> Console:
    """Standard output (or error) as rich knows it. Nothing in what is printed is markup."""
    stream = sys.stderr if to_error else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def cell(value: object) -> str:
    """A value as people read it: money to a millionth of a dollar, instants in UTC to the second."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:.{_USD_PLACES}f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def printable(text: str) -> str:
    """The text with what could steer a terminal made visible: names and answers are other people's."""
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)


def _as_json(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, UUID | Unreadable):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be shown as JSON")
