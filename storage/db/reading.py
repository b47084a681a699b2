"""Rows are read value by value, and a value that Python cannot hold spoils no other.

Postgres keeps more than Python can hold: numbers of a hundred thousand digits, JSON nested a thousand deep, instants
that are infinite or after the year 9999. A loader that raises loses every row of its answer, which may be of many
tenants. So these loaders never raise: JSON that cannot be held comes as :class:`Unreadable`, an instant as the nearest
one that can be held.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, NoReturn, TypeVar

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import Format

T = TypeVar("T")

MOST_LEVELS: Final = 128
"""Lists and objects in each other. The doors allow 64; what wraps them for the way here adds a few."""
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for JSON that Python cannot hold. ``why`` never quotes it."""

    why: str

    def __str__(self) -> str:
        return f"(unreadable: it {self.why})"


def as_row_of(kind: type[T], row: Mapping[str, Any]) -> T:
    """A row of one of the road's functions as the dataclass that it fills, without columns that are not known here.

    During an upgrade the database is a release ahead of some processes, and its functions may say more. A claim that
    raises for that would leave its job running.
    """
    return kind(**{name: row[name] for name in kind.__match_args__ if name in row})  # type: ignore[attr-defined]


def is_deeper_than(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than ``levels``. Takes them level by level, so it cannot recurse."""
    level = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            one
            for many in level
            for one in (many.values() if isinstance(many, dict) else many)
            if isinstance(one, dict | list | tuple)
        ]
    return bool(level)


def read_json(data: Buffer) -> Any:
    """JSON as Postgres sends it, or :class:`Unreadable`."""
    text = str(data, "utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        return Unreadable(_TOO_DEEP)
    except ValueError:  # all else is well: Postgres made this text
        return Unreadable("holds a number that is too large")
    # most texts hold fewer brackets than levels are allowed
    if text.count("[") + text.count("{") > MOST_LEVELS and is_deeper_than(value, MOST_LEVELS):
        return Unreadable(_TOO_DEEP)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


_TOO_DEEP = f"is nested deeper than {MOST_LEVELS} levels"
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)


class _Json(Loader):
    def load(self, data: Buffer) -> Any:
        return read_json(data)


class _Time(Loader):
    """psycopg's own loader, and the nearest instant that Python can hold where that one gives up."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        kind = psycopg.adapters.get_loader(oid, Format.TEXT)
        assert kind is not None, "psycopg loads dates and times"
        self._load: Callable[[Buffer], Any] = kind(oid, context).load

    def load(self, data: Buffer) -> Any:
        try:
            return self.sound(self._load(data))
        except (psycopg.DataError, OverflowError):
            text = bytes(data)
            before = text.startswith((b"-", b"0001")) or text.endswith(b"BC")
            return self.of_nearest(FIRST if before else LAST)

    def sound(self, value: Any) -> Any:
        return value

    def of_nearest(self, nearest: datetime) -> Any:
        return nearest


class _Instant(_Time):
    def sound(self, value: datetime) -> datetime:
        """Raises :class:`OverflowError` for a time that only its own zone has."""
        if not FIRST.year < value.year < LAST.year:
            value.astimezone(UTC)
        return value


class _LocalInstant(_Time):
    def of_nearest(self, nearest: datetime) -> datetime:
        return nearest.replace(tzinfo=None)


class _Day(_Time):
    def of_nearest(self, nearest: datetime) -> date:
        return nearest.date()


class Readable:
    """What a connection is made with so that it reads so (psycopg calls it a context)."""

    adapters = AdaptersMap(psycopg.adapters)
    connection = None


_LOADERS: Final[dict[str, type[_Json | _Time]]] = {
    "json": _Json,
    "jsonb": _Json,
    "timestamptz": _Instant,
    "timestamp": _LocalInstant,
    "date": _Day,
}
for _name, _loader in _LOADERS.items():
    Readable.adapters.register_loader(_name, _loader)
