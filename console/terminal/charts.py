"""Amounts as bars and columns in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import ceil

from rich.cells import cell_len
from rich.text import Text

from console.terminal.output import cell, draws, make_printable, screen, width
from console.terminal.tables import wrap

MOST_BARS = 20
MOST_COLUMNS = 30

_BAR_WIDTH = 40
_LEAST_BAR = 10
_HEIGHT = 8
_UPWARDS = " ▁▂▃▄▅▆▇█"  # eighths of a line
_SIDEWAYS = " ▏▎▍▌▋▊▉█"  # eighths of a cell


def print_bars(amounts: Sequence[tuple[str, Decimal]]) -> None:
    """A bar for each of the first twenty names, in proportion to its amount (USD); the rest as one line.

    If a name leaves no room for its bar, it has a line of its own above the bar.
    """
    shown = [(make_printable(name), usd, cell(usd)) for name, usd in amounts[:MOST_BARS]]
    dearest = max((usd for _, usd, _ in shown), default=Decimal(0))
    figures = max((len(figure) for _, _, figure in shown), default=0)
    room = width()
    names = max((cell_len(name) for name, _, _ in shown), default=0)
    beside = room is None or names + 1 + _LEAST_BAR + 1 + figures <= room
    taken = figures + 1 + (names + 1 if beside else 0)
    bar = _BAR_WIDTH if room is None else max(min(_BAR_WIDTH, room - taken), 1)
    lines = []
    for name, usd, figure in shown:
        if beside:
            before = name + " " * (names - cell_len(name) + 1)
        else:
            lines += wrap(name, room)
            before = ""
        lines.append(f"{before}{_bar(usd, dearest, bar)} {figure:>{figures}}")
    if len(amounts) > MOST_BARS:
        lines.append(f"and {len(amounts) - MOST_BARS} more")
    _print(lines)


def print_columns(spent: Mapping[date, Decimal], *, first: date, last: date) -> None:
    """A column for each day (for several days, where there are many) from first to last, in proportion to its spend in
    USD.
    """
    days = (last - first).days + 1
    each = ceil(days / MOST_COLUMNS)
    sums = [
        sum((spent.get(first + timedelta(days=day), Decimal(0)) for day in range(start, start + each)), Decimal(0))
        for start in range(0, days, each)
    ]
    highest = max(sums)
    levels = [_level(usd, highest) for usd in sums]
    scale = [cell(highest), *[""] * (_HEIGHT - 2), cell(Decimal(0))]
    figures = max(map(len, scale))
    lines = [
        f"{scale[_HEIGHT - 1 - row]:>{figures}} │" + "".join(_part(level - 8 * row) for level in levels)
        for row in reversed(range(_HEIGHT))
    ]
    lines.append(f"{'':{figures}} └" + "──" * len(sums))
    lines.append(f"{'':{figures}}  {first} … {last}, a column is {'a day' if each == 1 else f'{each} days'}")
    _print(lines)


def _print(lines: Sequence[str]) -> None:
    stream = screen()
    text = "\n".join(lines)
    if not draws(stream):  # an ASCII terminal has no blocks and no frames: a cell that is at least half full is a #
        text = text.translate({ord(block): " " for block in _UPWARDS[:4] + _SIDEWAYS[:4]})
        text = text.translate({ord(block): "#" for block in _UPWARDS[4:] + _SIDEWAYS[4:]})
        text = text.translate({ord("│"): "|", ord("└"): "+", ord("─"): "-", ord("…"): "-"})
    if text:
        stream.print(Text(text), soft_wrap=True)


def _bar(usd: Decimal, dearest: Decimal, cells: int) -> str:
    """A bar of up to that many cells, filled up with blanks; any spend shows, however little."""
    eighths = max(round(usd / dearest * cells * 8), 1) if usd > 0 else 0
    full, rest = divmod(eighths, 8)
    return (_SIDEWAYS[8] * full + (_SIDEWAYS[rest] if rest else "")).ljust(cells)


def _level(usd: Decimal, highest: Decimal) -> int:
    """The height of a column in eighths of a line; any spend shows, however little."""
    return max(round(usd / highest * _HEIGHT * 8), 1) if usd > 0 else 0


def _part(eighths: int) -> str:
    """The part of a column that is in one line, and a blank beside it."""
    return _UPWARDS[min(max(eighths, 0), 8)] + " "
