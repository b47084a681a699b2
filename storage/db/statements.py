"""SQL has one home: ``storage/<room>/queries/<noun>/<verb>.sql``, loaded once, run by ``storage/<room>/<noun>.py``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString, cast


@cache
def sql(noun: str, verb: str) -> LiteralString:
    """The statement of that verb; the noun carries its room: ``sql("money/limits", "set_cap")``."""
    room, noun = noun.split("/")
    text = (files("storage") / room / "queries" / noun / f"{verb}.sql").read_text(encoding="utf-8")
    return cast("LiteralString", text)  # type: ignore[redundant-cast]  # a file of ours, never built from strings
