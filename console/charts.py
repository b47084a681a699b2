"""Amounts as bars and columns in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import ceil

from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from console.output import cell, printable, screen

MOST_BARS = 20
MOST_COLUMNS = 30

_BAR_WIDTH = 40
_HEIGHT = 8
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def print_bars(amounts: Sequence[tuple[str, Decimal]]) -> None:
    """A bar for each of the first twenty names, as long as its amount (USD) is great; the rest as one line."""
    dearest = float(max((usd for _, usd in amounts), default=0))
    table = Table.grid(padding=(0, 1))
    for name, usd in amounts[:MOST_BARS]:
        table.add_row(Text(printable(name)), Bar(dearest or 1.0, 0, float(usd), width=_BAR_WIDTH), Text(cell(usd)))
    screen().print(table)
    if len(amounts) > MOST_BARS:
        screen().print(Text(f"and {len(amounts) - MOST_BARS} more"))


def print_columns(spent: Mapping[date, Decimal], *, first: date, last: date) -> None:
    """A column for each day (for several, where there are many) from first to last, as high as its spend in USD."""
    days = (last - first).days + 1
    each = ceil(days / MOST_COLUMNS)
    sums = [
        sum((spent.get(first + timedelta(days=day), Decimal(0)) for day in range(start, start + each)), Decimal(0))
        for start in range(0, days, each)
    ]
    highest = max(sums)
    levels = [_level(usd, highest) for usd in sums]
    scale = [cell(highest), *[""] * (_HEIGHT - 2), cell(Decimal(0))]
    width = max(map(len, scale))
    lines = [
        f"{scale[_HEIGHT - 1 - row]:>{width}} │" + "".join(_part(level - 8 * row) for level in levels)
        for row in reversed(range(_HEIGHT))
    ]
    lines.append(f"{'':{width}} └" + "──" * len(sums))
    lines.append(f"{'':{width}}  {first} … {last}, a column is {'a day' if each == 1 else f'{each} days'}")
    screen().print(Text("\n".join(lines)), soft_wrap=True)


def _level(usd: Decimal, highest: Decimal) -> int:
    """How many eighths of a line a column is high; what was spent is seen, however little."""
    return max(round(usd / highest * _HEIGHT * 8), 1) if usd > 0 else 0


def _part(eighths: int) -> str:
    """The part of a column that lies in one line, and a blank beside it."""
    return _EIGHTHS[min(max(eighths, 0), 8)] + " "
