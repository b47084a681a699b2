"""The table of reviewed prices, one line a row: a provider's change is seen by somebody before it counts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from errors import InvalidInputError
from storage.money.prices import RATES, Change, ChangeKind, Price

COLUMNS = ("provider", "model", "effective_from", *RATES)
"""The table's columns. Dates are UTC days, amounts USD per million tokens; an empty cell is no rate of its own."""


def write_table(rows: Iterable[Price]) -> str:
    """The table as text: by provider and model, the oldest first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=_order):
        day = row.effective_from.astimezone(UTC).date()
        writer.writerow([row.provider, row.model, day, *(_shown(value) for value in row.rates().values())])
    return out.getvalue()


def read_table(text: str) -> list[Price]:
    """The rows of a table.

    :raises InvalidInputError: it is no such table; ``field`` is the line.
    """
    lines = csv.reader(io.StringIO(text))
    if tuple(next(lines, ())) != COLUMNS:
        raise InvalidInputError("is no table of prices", field="line 1", hint=f"It begins with {','.join(COLUMNS)}.")
    rows: list[Price] = []
    for cells in lines:
        try:
            rows.append(_row(dict(zip(COLUMNS, cells, strict=True))))
        except (ValueError, InvalidOperation) as error:
            raise InvalidInputError(
                "is no price", field=f"line {lines.line_num}", value=",".join(cells), hint="Write the table anew."
            ) from error
    return rows


def compare_tables(reviewed: Sequence[Price], announced: Sequence[Price]) -> list[Change]:
    """In what the published rows differ from the reviewed ones, by model and date."""
    before = {(row.of, row.effective_from): row for row in reviewed}
    after = {(row.of, row.effective_from): row for row in announced}
    models = {row.of for row in reviewed}
    changes = []
    for key, row in after.items():
        if key not in before:
            kind = ChangeKind.NEW_STEP if row.of in models else ChangeKind.NEW_MODEL
            changes.append(Change(kind, row, row.before(announced)))
        elif before[key].rates() != row.rates():
            changes.append(Change(ChangeKind.CHANGED_RATE, row, before[key]))
    changes += [Change(ChangeKind.GONE, None, row) for key, row in before.items() if key not in after]
    return sorted(changes, key=lambda one: _order(one.row))


def _row(cells: dict[str, str]) -> Price:
    given: dict[str, Any] = {name: Decimal(cells[name]) for name in RATES if cells[name]}
    if not {"input_usd", "output_usd"} <= given.keys() or not all(one.is_finite() for one in given.values()):
        raise ValueError("a rate is missing")
    if "long_from" in given:
        given["long_from"] = int(given["long_from"])
    day = datetime.combine(date.fromisoformat(cells["effective_from"]), time(), UTC)
    return Price(provider=cells["provider"], model=cells["model"], effective_from=day, **given)


def _shown(value: Decimal | int | None) -> str:
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def _order(row: Price) -> tuple[str, str, datetime]:
    return row.provider, row.model, row.effective_from
