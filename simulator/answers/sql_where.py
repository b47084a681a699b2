"""The rows that a question means: values, names, spans of time and bounds, as SQL conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from simulator.answers.sql_question import DataQuestion
from simulator.answers.sql_tables import Column, Table, stems

_YEAR = re.compile(r"\b(?:in|during|of|for|since)\s+((?:19|20)\d\d)\b")
_LAST = re.compile(r"\b(?:last|past)\s+(\d+)\s+(day|week|month|year)s?\b")
_BOUND = re.compile(
    r"\b(?:(more than|over|above|greater than|at least)|(less than|under|below|fewer than|at most))"
    r"\s+[$€£]?\s?([\d,]*\d(?:\.\d+)?)(?![\d.,]*\d)(?!\s?(?:min|hour|day|week|month|year|item|time|m\b|%))"
)
_QUOTED = re.compile(r"[\"'“‘]([^\"'”’]{2,60})[\"'”’]")
_NAMED = re.compile(r"\b(in|from|at|for|by|called|named)\s+([A-Z][\w-]+(?:\s[A-Z][\w-]+)*)")
_NOT = r"(?:non-|not |no |without |exclud\w+ |except |ignor\w+ |leaving out (?:what was )?)(?:the |any )?"
_MONTH = re.compile(r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}(?: \d{4})?", re.IGNORECASE)
_PLACES = frozenset({"country", "region", "city", "state", "district"})
_NAMES = frozenset({"name", "title", "company"})
# Listed values that questions use as units, too.
_UNITS = frozenset({"day", "week", "month", "quarter", "year"})

Where = tuple[Table, str]
"""A table that the query needs, and a condition on it."""


def conditions(question: DataQuestion, near: Sequence[Table], *, sqlite: bool) -> Iterator[Where]:
    """The conditions that ``question`` names.

    :param near: the table that the query is about, then those that it can be joined with.
    """
    used: set[str] = set()
    yield from _listed_values(question, near, used)
    yield from _names(question, near, used)
    yield from _times(question, near[0], sqlite=sqlite)
    yield from _bounds(question, near[0])


def _listed_values(question: DataQuestion, near: Sequence[Table], used: set[str]) -> Iterator[Where]:
    for table in near:
        for column in table.columns:
            named = [value for value in column.values if _is_named(value, question) and value.lower() not in used]
            used.update(value.lower() for value in named)
            refused = [value for value in named if re.search(_NOT + re.escape(value.lower()), question.lower)]
            kept = [value for value in named if value not in refused]
            if kept:
                yield table, f"{table.name}.{column.name} {_among(kept, '=', 'IN')}"
            if refused:
                yield table, f"{table.name}.{column.name} {_among(refused, '<>', 'NOT IN')}"


def _names(question: DataQuestion, near: Sequence[Table], used: set[str]) -> Iterator[Where]:
    for match in [*_QUOTED.finditer(question.asked), *_NAMED.finditer(question.asked)]:
        *lead, value = (group.strip() for group in match.groups())
        if value.lower() in used or _MONTH.fullmatch(value):
            continue
        if found := _holder(near, _likely(question, lead[0] if lead else None)):
            used.add(value.lower())
            yield found[0], f"{found[0].name}.{found[1].name} = {_literal(value)}"


def _times(question: DataQuestion, main: Table, *, sqlite: bool) -> Iterator[Where]:
    if main.when is None:
        return
    place = f"{main.name}.{main.when.name}"
    if year := _YEAR.search(question.lower):
        first = int(year.group(1))
        yield main, f"{place} >= '{first}-01-01'"
        if not year.group().startswith("since"):
            yield main, f"{place} < '{first + 1}-01-01'"
    if last := _LAST.search(question.lower):
        number, unit = last.groups()
        yield (
            main,
            f"{place} >= "
            + (
                f"date('now', '-{int(number) * 7 if unit == 'week' else number} {'day' if unit == 'week' else unit}s')"
                if sqlite
                else f"now() - interval '{number} {unit}s'"
            ),
        )


def _bounds(question: DataQuestion, main: Table) -> Iterator[Where]:
    numbers = [column for column in main.columns if column.is_number]
    if numbers and (bound := _BOUND.search(question.lower)):
        column = next((one for one in numbers if one.stems & question.words), numbers[0])
        sign = ">" if bound.group(1) else "<"
        sign += "=" if bound.group(1) == "at least" or bound.group(2) == "at most" else ""
        yield main, f"{main.name}.{column.name} {sign} {bound.group(3).replace(',', '')}"


def _is_named(value: str, question: DataQuestion) -> bool:
    words = stems(value)
    return bool(words) and words <= question.words and not words <= _UNITS


def _likely(question: DataQuestion, lead: str | None) -> list[frozenset[str]]:
    """The likely names of a name's column, likeliest first.

    :param lead: the word before the name, such as ``from``; ``None`` for a name in quotes.
    """
    if lead is None:
        return [question.words]
    return [_PLACES, _NAMES, question.words] if lead in ("in", "from", "at") else [_NAMES, question.words, _PLACES]


def _holder(near: Sequence[Table], likely: Sequence[frozenset[str]]) -> tuple[Table, Column] | None:
    """The column that a name in the question is stored in."""
    texts = [(table, column) for table in near for column in table.columns if column.is_text and not column.values]
    for wanted in likely:
        for table, column in texts:
            if column.stems & wanted:
                return table, column
    return None


def _among(values: Sequence[str], one: str, several: str) -> str:
    if len(values) == 1:
        return f"{one} {_literal(values[0])}"
    return f"{several} ({', '.join(map(_literal, values))})"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
