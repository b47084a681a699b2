"""Rows of values as lines that fit a terminal. Pure: texts in, lines out.

A line breaks at blanks alone: an id is never broken, an amount is never cut. Rows that do not fit lose their empty
columns first. Then cells wrap, and then the columns are dropped that the caller can spare. Rows that still do not fit
become cards. Without a width (a pipe, a file) every row is one line and holds everything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

MOST_LINES = 4
"""The most lines of a table row; a longer one is easier to read as a card."""

_GAP = 2
_UNBROKEN = "\N{NO-BREAK SPACE}"  # stands for a blank at which a line must not break; printed as a blank


@dataclass(frozen=True, slots=True)
class TableLine:
    """One line: a part in bold, and the rest."""

    strong: str
    plain: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a table or of cards, and the columns that were dropped to save width."""

    lines: Sequence[TableLine]
    left_out: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    cells: Sequence[str]
    to_right: bool

    @property
    def natural(self) -> int:
        return max(cell_len(text) for text in (self.name, *self.cells))

    @property
    def least(self) -> int:
        return max(cell_len(word) for text in (self.name, *self.cells) for word in text.split(" "))


def unbroken(text: str) -> str:
    """The text as one word, which stays on one line."""
    return text.replace(" ", _UNBROKEN)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None,
    to_right: Collection[str] = (),
    spare: Sequence[str] = (),
    rule: str = "─",
) -> Layout:
    """Lay rows out below their columns' names. ``spare``: columns that may be dropped, the first of them first.

    A column of ``to_right`` holds figures: none of its cells breaks.
    """
    whole = [
        _Column(
            name,
            [unbroken(row[place]) if name in to_right else row[place] for row in rows],
            to_right=name in to_right,
        )
        for place, name in enumerate(columns)
    ]
    natural = [one.natural for one in whole]
    if width is None or sum(natural) + _GAP * (len(whole) - 1) <= width:
        return Layout(_drawn(whole, natural, rule))
    filled = kept = [one for one in whole if any(one.cells)] or whole
    for name in (None, *spare):
        kept = [one for one in kept if one.name != name]
        widths = _widths(kept, width)
        if widths is not None:
            return Layout(_drawn(kept, widths, rule), [one.name for one in filled if one not in kept])
    return Layout(_cards(whole, len(rows), width))


def cards(names: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> Layout:
    """A card for each row: a line for each value that is not missing, behind its name."""
    whole = [_Column(name, [row[place] for row in rows], to_right=False) for place, name in enumerate(names)]
    return Layout(_cards(whole, len(rows), width))


def wrap(text: str, width: int | None) -> list[str]:
    """The text in lines of that width at most, broken at blanks alone; a longer word has a line to itself."""
    if width is None or cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and cell_len(longer) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def hang(text: str, width: int | None, *, indent: int) -> str:
    """The text as lines of that width at most; all but the first are indented."""
    if width is None or cell_len(text) <= width:
        return text
    first, *rest = wrap(text, width)
    blanks = "\n" + " " * indent
    return first + blanks + blanks.join(wrap(" ".join(rest).lstrip(), max(width - indent, 1)))


def _widths(columns: Sequence[_Column], width: int) -> list[int] | None:
    """The widths of the columns, so that all fit; None when they do not, or when a row would have too many lines."""
    room = width - _GAP * (len(columns) - 1)
    natural = [one.natural for one in columns]
    if sum(natural) <= room:
        return natural
    widths = [one.least for one in columns]
    left = room - sum(widths)
    if left < 0:
        return None
    wanting = sorted(range(len(columns)), key=lambda place: natural[place] - widths[place])
    for n, place in enumerate(wanting):  # a column with a small need gets all of it, the others share the rest
        more = min(natural[place] - widths[place], left // (len(wanting) - n))
        widths[place] += more
        left -= more
    high = max(len(wrap(text, widths[place])) for place, one in enumerate(columns) for text in (one.name, *one.cells))
    return widths if high <= MOST_LINES else None


def _drawn(columns: Sequence[_Column], widths: Sequence[int], rule: str) -> list[TableLine]:
    head = [TableLine(text) for text in _row([one.name for one in columns], columns, widths)]
    lines = [*head, TableLine("", rule * (sum(widths) + _GAP * (len(widths) - 1)))]
    for place in range(len(columns[0].cells) if columns else 0):
        lines += [TableLine("", text) for text in _row([one.cells[place] for one in columns], columns, widths)]
    return lines


def _row(texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    parts = [wrap(text, width) for text, width in zip(texts, widths, strict=True)]
    lines = []
    for n in range(max(map(len, parts), default=0)):
        cells = []
        for part, column, width in zip(parts, columns, widths, strict=True):
            text = part[n] if n < len(part) else ""
            blanks = " " * (width - cell_len(text))
            cells.append(blanks + text if column.to_right else text + blanks)
        lines.append((" " * _GAP).join(cells).rstrip().replace(_UNBROKEN, " "))
    return lines


def _cards(columns: Sequence[_Column], rows: int, width: int | None) -> list[TableLine]:
    names = max((cell_len(one.name) for one in columns), default=0) + _GAP
    lines: list[TableLine] = []
    for place in range(rows):
        if place:
            lines.append(TableLine(""))
        for one in columns:
            if not one.cells[place]:
                continue
            first, *rest = wrap(one.cells[place], None if width is None else max(width - names, 1))
            blanks = " " * (names - cell_len(one.name))
            lines.append(TableLine(one.name, (blanks + first).replace(_UNBROKEN, " ").rstrip()))
            lines += [TableLine("", (" " * names + text).replace(_UNBROKEN, " ").rstrip()) for text in rest]
    return lines
