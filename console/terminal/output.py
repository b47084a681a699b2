"""The output of commands: tables for people, JSON for programs. Results go to standard output, the rest to standard
error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text

from console.terminal import tables
from storage.db.reading import Unreadable

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
"""The ``--json`` option that every command has."""
LogJson = Annotated[bool, typer.Option("--json", help="Log in JSON lines, and print an error in JSON.")]
"""The same for a command that runs until it is told to stop."""

_USD_PLACES = 6
_NARROWEST, _USUAL = (
    20,
    80,
)  # columns of a terminal: the least that is believed, and the default when it does not report any
_BLANKS = "Zs"  # Unicode's category of blanks: their width is not certain, as of an ideographic blank
_JOINER = re.compile("(?<=[\u2000-\U0010ffff])\u200d(?=[\u2000-\U0010ffff])")  # between the parts of an emoji


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document. Money becomes an exact string, an instant ISO 8601, an id text."""
    typer.echo(to_json(document, indent=2 if sys.stdout.isatty() else None))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON."""
    return json.dumps(value, default=_as_json, indent=indent)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    spare: Sequence[str] = (),
    to_error: bool = False,
) -> None:
    """Print a table for people, or a card for each row where it does not fit (see :mod:`console.terminal.tables`).

    ``numbers`` names the columns that are aligned to the right and never broken. ``spare`` names those that a narrow
    terminal may drop, the first of them first.
    """
    stream = screen(to_error=to_error)
    laid_out = tables.table(
        columns,
        [[_in_table(value) for value in row] for row in rows],
        width=width(to_error=to_error),
        to_right=numbers,
        spare=spare,
        rule="─" if draws(stream) else "-",
    )
    _print_lines(stream, laid_out.lines)
    if laid_out.left_out:
        note(f"left out for the width of this terminal: {', '.join(laid_out.left_out)} (--json has everything)")


def print_facts(facts: Mapping[str, object]) -> None:
    """Print a name and its value a line, leaving out missing values."""
    there = {name: _in_table(value) for name, value in facts.items() if value is not None}
    _print_lines(screen(), tables.cards(list(there), [list(there.values())], width=width()).lines)


def say(text: str) -> None:
    """Print a sentence that is the result, broken at blanks. Names in it come from outside."""
    for line in tables.wrap(make_printable(text), width()):
        typer.echo(line)


def say_wrapped(text: Text, *, indent: int) -> None:
    """Print a sentence that may be long, broken at blanks only; further lines are indented."""
    first, *rest = tables.hang(text.plain, width(), indent=indent).split("\n")
    screen().print(Text("\n").join([text[: len(first)], *map(Text, rest)]), soft_wrap=True)


def note(text: str) -> None:
    """Print a note on standard error that does not belong to the result."""
    for line in tables.wrap(make_printable(text), width(to_error=True)):
        screen(to_error=True).print(Text(line), soft_wrap=True)


def count_of(count: int, one: str, many: str | None = None) -> str:
    """``1 job``, ``2,000 jobs``. ``many``: the plural, if an s alone does not make it."""
    return f"1 {one}" if count == 1 else f"{count:,} {many or one + 's'}"


def screen(*, to_error: bool = False, markup: bool = False) -> Console:
    """Standard output (or error) as rich knows it. The text is not read as markup, unless the caller says so."""
    stream = sys.stderr if to_error else sys.stdout
    return Console(file=stream, width=width(to_error=to_error), markup=markup, highlight=False, emoji=False)


def width(*, to_error: bool = False) -> int | None:
    """The columns of the terminal that shows standard output (or error); None where it is not a terminal."""
    stream = sys.stderr if to_error else sys.stdout
    if not stream.isatty():
        return None
    try:
        columns = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(stream.fileno()).columns
    except (ValueError, OSError):  # COLUMNS is not a number, or the terminal does not report a width
        columns = 0
    return max(columns, _NARROWEST) if columns > 0 else _USUAL


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
    return make_printable(str(value))


def make_printable(text: str) -> str:
    """The text with control characters made visible: names and answers come from outside and could steer a terminal."""
    if text.isprintable():
        return text
    joiners = {found.start() for found in _JOINER.finditer(text)}
    return "".join(one if place in joiners else _shown(one) for place, one in enumerate(text))


def _shown(letter: str) -> str:
    if letter.isprintable() or letter in "\n\t":
        return letter
    return " " if unicodedata.category(letter) == _BLANKS else "\N{REPLACEMENT CHARACTER}"


def _in_table(value: object) -> str:
    """A value on one line; an instant is one word."""
    text = cell(value).replace("\n", " ").replace("\t", " ")
    return tables.unbroken(text) if isinstance(value, datetime) else text


def draws(stream: Console) -> bool:
    """Whether block characters can be written there: not on an ASCII terminal."""
    return stream.encoding.lower().startswith("utf")


def _print_lines(stream: Console, lines: Sequence[tables.TableLine]) -> None:
    if lines:
        bold = (Text().append(line.strong, style="bold").append(line.plain) for line in lines)
        stream.print(Text("\n").join(bold), soft_wrap=True)


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
