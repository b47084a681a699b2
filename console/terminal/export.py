"""Rows as files for other programs: CSV and Parquet. An amount keeps all its digits, or nothing is written."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from errors import ConfigurationError, InvalidInputError

Rows = Sequence[Mapping[str, object]]
STANDARD_OUTPUT = "-"

_PRECISION = 38  # digits of a Parquet decimal that every reader supports
_PLACES = 18  # a minimum, so that files of different days have the same type


class ColumnKind(Enum):
    """The type of a column."""

    TEXT = "text"
    WHOLE = "whole"
    DAY = "day"
    USD = "usd"


def write_csv(to: str, columns: Mapping[str, ColumnKind], rows: Rows) -> None:
    """Write CSV (RFC 4180, UTF-8, with a header) to a file, or to standard output for ``-``. Missing values are empty.

    :raises InvalidInputError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_written(row[name]) for name in columns] for row in rows)
    if to == STANDARD_OUTPUT:
        sys.stdout.buffer.write(text.getvalue().encode())
    else:
        _write(to, text.getvalue().encode(), field="csv")


def write_parquet(to: str, columns: Mapping[str, ColumnKind], rows: Rows) -> None:
    """Write Parquet to a file: days as date32, amounts as decimal128 with 18 places or as many more as they need.

    :raises ConfigurationError: pyarrow is not installed.
    :raises InvalidInputError: the file cannot be written, or an amount has more digits than a decimal128.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed", hint="Run `pip install 'headrace[parquet]'`."
        ) from error
    types = {ColumnKind.TEXT: pyarrow.string(), ColumnKind.WHOLE: pyarrow.int64(), ColumnKind.DAY: pyarrow.date32()}
    fields = [
        (name, pyarrow.decimal128(_PRECISION, _places(name, rows)) if kind is ColumnKind.USD else types[kind])
        for name, kind in columns.items()
    ]
    table = pyarrow.Table.from_pylist([{name: row[name] for name in columns} for row in rows], pyarrow.schema(fields))
    file: Any = io.BytesIO()
    parquet.write_table(table, file)
    _write(to, file.getvalue(), field="parquet")


def _written(value: object) -> object:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _places(name: str, rows: Rows) -> int:
    """The number of decimal places that the column needs."""
    whole, places = 0, _PLACES
    for row in rows:
        before, _, after = f"{row[name]:f}".lstrip("-").partition(".")
        whole, places = max(whole, len(before.lstrip("0"))), max(places, len(after.rstrip("0")))
        if whole + places > _PRECISION:
            raise InvalidInputError(
                f"would lose digits: {name} needs {whole} before the point and {places} after it, and a decimal has "
                f"{_PRECISION}",
                field="parquet",
                hint="Use --csv, which keeps every digit.",
            )
    return places


def _write(to: str, content: bytes, *, field: str) -> None:
    try:
        Path(to).write_bytes(content)
    except OSError as error:
        raise InvalidInputError(f"cannot be written: {error.strerror}", field=field, value=to) from error
