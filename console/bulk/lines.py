"""A job's result as a line of a file: JSON lines, or CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from storage.jobs.results import RAW_JSON

COLUMNS: Final = (
    "job_id", "tenant_id", "user_id", "feature", "lane", "idempotency_key", "metadata", "repeats", "asked_again_as",
    "state", "reason", "output", "output_json", "finish", "error", "attempts", "provider", "model", "calls",
    "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd", "simulated", "created_at", "ended_at",
)  # fmt: skip
"""The fields of a line; CSV has them in this order. A test compares them with the columns of the database query."""

_PLAIN: Final = tuple(name for name in COLUMNS if name not in RAW_JSON)
_RAW: Final = tuple(name for name in COLUMNS if name in RAW_JSON)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class FileFormat(StrEnum):
    """The format of results."""

    JSONL = "jsonl"
    CSV = "csv"


def head(form: FileFormat) -> str:
    """The text before the first line."""
    return "" if form is FileFormat.JSONL else _csv([COLUMNS])


def written(form: FileFormat, rows: Sequence[Mapping[str, Any]]) -> str:
    """The lines of some rows of :func:`storage.jobs.results.page`."""
    if form is FileFormat.JSONL:
        return "".join(map(_json_line, rows))
    return _csv([[_cell(row[name]) for name in COLUMNS] for row in rows])


def _json_line(row: Mapping[str, Any]) -> str:
    """A row as JSON. JSON of Postgres is passed through unparsed, so values that Python cannot hold are kept."""
    plain = _ENCODER.encode({name: row[name] for name in _PLAIN})
    raw = ", ".join(f'"{name}": {row[name] or "null"}' for name in _RAW)
    return f"{plain[:-1]}, {raw}}}\n"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would take for a formula.

    Answers, users, keys and metadata come from outside, and a formula can send neighbouring cells elsewhere.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
