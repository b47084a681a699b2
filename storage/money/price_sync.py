"""Bring the prices in the database up to what is published; what a sync would add is how the two have drifted apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from storage.db.connect import Connection
from storage.money import prices
from storage.money.prices import BY_HAND, Change, ChangeKind, Model, Price, in_force
from storage.money.published_prices import read_published

_LEAST = timedelta(microseconds=1)  # of Postgres's clock
_A_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Drift:
    """In what the database differs from what is published; and the models that it leaves alone, priced by hand."""

    changes: Sequence[Change]
    by_hand: Sequence[Model]


def drift(connection: Connection, models: Iterable[Model]) -> Drift:
    """What :func:`sync` would add for these models now. Raises what :func:`published_prices.read_published` does."""
    stored = prices.list_prices(connection)
    by_hand = {row.of for row in stored if row.source == BY_HAND}
    wanted = sorted(set(models))
    changes = due(read_published(one for one in wanted if one not in by_hand), stored, prices.moment(connection))
    return Drift(changes, [one for one in wanted if one in by_hand])


def sync(connection: Connection, models: Iterable[Model]) -> Drift:
    """Add what is missing, in the caller's transaction; what was added. Rows that are there stay as they are.

    A model with a row by hand is left alone: who has taken its price on keeps it up to date. Raises what
    :func:`storage.money.published_prices.read_published` does.
    """
    prices.lock(connection)
    found = drift(connection, models)
    for change in found.changes:
        prices.add(connection, change.row)
    return found


def due(announced: Iterable[Price], stored: Sequence[Price], now: datetime) -> list[Change]:
    """The rows that make the stored prices say what is published, from now on and in every step that has a date.

    A published step whose date has no row gets one, past or future. Where after that another rate would be in force
    than the published one, a row follows that corrects it: from now on, or right after a future row that is wrong.
    What was in force in the past is not rewritten by rows without a date of their own.
    """
    by_model: dict[Model, list[Price]] = {}
    for row in announced:
        by_model.setdefault(row.of, []).append(row)
    changes: list[Change] = []
    for model, steps in by_model.items():
        ours = [row for row in stored if row.of == model]
        if any(row.source == BY_HAND for row in ours):
            continue
        changes += (
            _due_of_one(model, steps, ours, now)
            if ours
            else [Change(ChangeKind.NEW_MODEL, one, one.before(steps)) for one in steps]
        )
    return changes


def _due_of_one(model: Model, steps: Sequence[Price], ours: Sequence[Price], now: datetime) -> list[Change]:
    known = {row.effective_from for row in ours}
    rows = list(ours)
    changes = []
    for step in steps:
        if step.effective_from not in known:
            changes.append(Change(ChangeKind.NEW_STEP, step, step.before(rows)))
            rows.append(step)
    for edge in sorted({now, *(row.effective_from for row in rows if row.effective_from > now)}):
        # a correction stands right behind what it corrects: what counts is what is in force a second later
        at = edge if edge == now else edge + _A_SECOND
        right, there = in_force(steps, at).get(model), in_force(rows, at).get(model)
        if right is None or (there is not None and there.rates() == right.rates()):
            continue
        start = edge if there is None else max(edge, there.effective_from + _LEAST)
        row = replace(right, effective_from=start)
        changes.append(Change(ChangeKind.CHANGED_RATE, row, row.before(rows)))
        rows.append(row)
    return changes
