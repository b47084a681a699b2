"""SQL has one home: ``storage/queries/<noun>/<verb>.sql``, loaded once, run by the function of that name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString, cast


@cache
def sql(noun: str, verb: str) -> LiteralString:
    """The statement ``storage/queries/<noun>/<verb>.sql``."""
    text = (files("storage") / "queries" / noun / f"{verb}.sql").read_text(encoding="utf-8")
    return cast("LiteralString", text)  # type: ignore[redundant-cast]  # a file of ours, never built from strings
