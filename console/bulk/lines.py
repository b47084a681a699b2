"""One job's result as a line of a file: JSON lines, or CSV that a spreadsheet may open."""

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
"""What a line holds; in CSV in this order. A test holds them together with what the database is asked for."""

_PLAIN: Final = tuple(name for name in COLUMNS if name not in RAW_JSON)
_RAW: Final = tuple(name for name in COLUMNS if name in RAW_JSON)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class FileFormat(StrEnum):
    """How results are written."""

    JSONL = "jsonl"
    CSV = "csv"


def head(form: FileFormat) -> str:
    """What stands before the first line."""
    return "" if form is FileFormat.JSONL else _csv([COLUMNS])


def written(form: FileFormat, rows: Sequence[Mapping[str, Any]]) -> str:
    """The lines of some rows of :func:`storage.jobs.results.page`."""
    if form is FileFormat.JSONL:
        return "".join(map(_json_line, rows))
    return _csv([[_cell(row[name]) for name in COLUMNS] for row in rows])


def _json_line(row: Mapping[str, Any]) -> str:
    """JSON that Postgres wrote is taken as it is: what Python could not hold is in the file all the same."""
    plain = _ENCODER.encode({name: row[name] for name in _PLAIN})
    raw = ", ".join(f'"{name}": {row[name] or "null"}' for name in _RAW)
    return f"{plain[:-1]}, {raw}}}\n"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it.

    Answers, users, keys and metadata are written by others, and a formula can send what is beside it elsewhere.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
