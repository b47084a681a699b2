"""A question turned into SQL over the tables that the prompt shows.

Only columns that exist are used. The question's words choose the tables, what is counted or added up, what it is
grouped by, which rows are meant and in which order they come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.answers.reading import COMMON, stem
from simulator.answers.sql_question import DataQuestion
from simulator.answers.sql_tables import Column, Table
from simulator.answers.sql_where import conditions

_AGGREGATES = (
    ("COUNT", re.compile(r"\bhow many\b|\bnumber of\b|\bcount\b")),
    ("AVG", re.compile(r"\baverage\b|\bmean\b")),
    ("SUM", re.compile(r"\btotal\b|\bsum\b|\brevenue\b|\bturnover\b|\bspen[dt]\b|\bspending\b|\bhow much\b")),
)
_GROUP = re.compile(r"\b(?:per|by|for each|in each|for every|each)\s+(?:the\s+)?([a-z_]+(?:[ _][a-z_]+)?)")
_PERIOD = re.compile(
    r"\b(?:per|by|for each|each|every)\s+(day|week|month|quarter|year)\b|\b(monthly|weekly|daily|yearly)\b"
)
_TOP = re.compile(r"\btop\s+(\d+)\b|\b(\d+)\s+(?:most|highest|largest|biggest|best|latest|newest|lowest|smallest)\b")
_DOWN = re.compile(r"\b(?:top|most|highest|largest|biggest|best|maximum)\b")
_UP = re.compile(r"\b(?:lowest|smallest|cheapest|least|fewest|minimum|worst)\b")
_WHICH = re.compile(r"\bwhich\b.*\b(?:most|highest|largest|fewest|lowest|least)\b")
_WHICH_ONE = re.compile(r"\bwhich\s+\w*[a-rt-z]\s")
_LATEST = re.compile(r"\b(?:latest|newest|most recent)\b|\blast\b(?!\s+\d)")
_MONEY = {"amount", "total", "price", "revenue", "value", "unit", "monthly", "fee", "cent", "cost", "usd", "eur"}
_CHANGES = re.compile(r"\s*(?:please\s+)?(?:delete|remove|update|insert|drop|truncate|change|set)\b", re.IGNORECASE)
_SECRETS = re.compile(r"\bpasswords?\b", re.IGNORECASE)
_PERIOD_FORMS = {"day": "%Y-%m-%d", "week": "%Y-%W", "month": "%Y-%m", "year": "%Y"}


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """A query and its description; no query where the tables cannot, or must not, answer the question."""

    sql: str
    explanation: str


@dataclass(slots=True)
class Query:
    """A query under construction."""

    main: Table
    columns: list[str] = field(default_factory=list)
    joins: dict[str, str] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    group: str | None = None
    order: str | None = None
    limit: int | None = None

    def text(self) -> str:
        """The query as one statement."""
        lines = ["SELECT " + ", ".join(self.columns), f"FROM {self.main.name}", *self.joins.values()]
        if self.where:
            lines.append("WHERE " + "\n  AND ".join(dict.fromkeys(self.where)))
        if self.group:
            lines.append(f"GROUP BY {self.group}")
        if self.order:
            lines.append(f"ORDER BY {self.order}")
        if self.limit is not None:
            lines.append(f"LIMIT {self.limit}")
        return "\n".join(lines) + ";"

    def explained(self) -> str:
        """The query's effect, in a few sentences."""
        whole = "(" in self.columns[0]
        rows = f"one value of {self.group}" if self.group else "the whole" if whole else f"one row of {self.main.name}"
        parts = [f"One row of the result stands for {rows}."]
        if self.joins:
            parts.append(f"It brings in {', '.join(self.joins)}.")
        if self.where:
            parts.append(f"Only rows with {' and '.join(dict.fromkeys(self.where))} count; all others are left out.")
        else:
            parts.append("No rows are left out.")
        if self.limit is not None:
            parts.append(f"At most {self.limit} rows are shown.")
        return " ".join(parts)


def write_sql(question: str, tables: Sequence[Table], *, sqlite: bool = False) -> SqlAnswer:
    """The query that answers ``question`` over ``tables`` (at least one), for Postgres or for SQLite."""
    if _CHANGES.match(question):
        return SqlAnswer("", "The question asks to change data; only reading it is possible here.")
    if _SECRETS.search(question) and not any("password" in column.name for table in tables for column in table.columns):
        return SqlAnswer("", "The schema holds nothing of the kind that the question asks for.")
    query = _Writer(DataQuestion.read(question), tables, sqlite=sqlite).query()
    return SqlAnswer(query.text(), query.explained())


class _Writer:
    def __init__(self, question: DataQuestion, tables: Sequence[Table], *, sqlite: bool) -> None:
        self._question = question
        self._lower = question.lower
        self._tables = {table.name: table for table in tables}
        self._sqlite = sqlite
        self._aggregate = next((name for name, pattern in _AGGREGATES if pattern.search(self._lower)), None)
        self._query = Query(max(tables, key=self._fit))

    def query(self) -> Query:
        """The whole query."""
        for table, condition in conditions(self._question, self._near(), sqlite=self._sqlite):
            self._join(table)
            self._query.where.append(condition)
        measure = self._measure()
        self._group()
        if self._aggregate in ("AVG", "SUM") and measure is not None:
            alias = f"{self._aggregate.lower()}_{measure.name}"
            self._query.columns.append(f"{self._aggregate}({_at(self._query.main, measure)}) AS {alias}")
            self._order(alias)
        elif self._aggregate is not None or self._query.group is not None:
            self._query.columns.append("COUNT(*) AS row_count")
            self._order("row_count")
        else:
            self._rows(measure)
        return self._query

    def _fit(self, table: Table) -> float:
        """How well a table fits the question."""
        named = table.stems & self._question.words
        columns = {word for column in table.columns for word in column.stems if not column.is_key}
        # Of two tables that fit, the one that refers to the other holds the facts, and sums need something to add up.
        adds_up = self._aggregate in ("SUM", "AVG") and any(column.is_number for column in table.columns)
        return (
            3.0 * len(named) / len(table.stems)
            + len(columns & self._question.words)
            + 0.3 * len(table.links)
            + (4.0 if adds_up else 0.0)
        )

    def _measure(self) -> Column | None:
        """The column of numbers that the question is about."""
        numbers = [column for column in self._query.main.columns if column.is_number]
        if named := [column for column in numbers if column.stems & self._question.words]:
            return named[0]
        ranks = self._aggregate is None and (_DOWN.search(self._lower) or _UP.search(self._lower))
        if self._aggregate not in ("SUM", "AVG") and not ranks:
            return None
        return next(iter([column for column in numbers if column.stems & _MONEY] or numbers), None)

    def _group(self) -> None:
        """Group by the period or by the thing that the question names."""
        main = self._query.main
        if (period := _PERIOD.search(self._lower)) and main.when is not None:
            unit = (period.group(1) or period.group(2)).removesuffix("ly").replace("dai", "day")
            self._group_by(self._period(unit, _at(main, main.when)), unit)
            return
        for match in _GROUP.finditer(self._lower):
            parts = [stem(part) for part in re.split(r"[ _]", match.group(1)) if part not in COMMON]
            found = self._called({*parts}) or self._called({*parts[:1]})
            if found is not None:
                self._join(found[0])
                self._group_by(_at(*found), found[1].name)
                return
        if _TOP.search(self._lower) or _WHICH.search(self._lower):
            others = [table for table in self._near()[1:] if table.stems & self._question.words]
            if others and others[0].label is not None:
                self._join(others[0])
                self._group_by(_at(others[0], others[0].label), others[0].label.name)

    def _group_by(self, expression: str, alias: str) -> None:
        bare = expression.rpartition(".")[2]
        self._query.columns.append(expression if bare == alias else f"{expression} AS {alias}")
        self._query.group = expression

    def _called(self, wanted: set[str]) -> tuple[Table, Column] | None:
        """The column (or the label of the table) that is called ``wanted``, in reach of the main table."""
        if not wanted:
            return None
        for table in self._near():
            for column in table.columns:
                if wanted <= column.stems and not (column.is_key or column.is_number):
                    return table, column
        for table in self._near():
            if wanted <= table.stems and table.label is not None:
                return table, table.label
        return None

    def _near(self) -> list[Table]:
        """The main table and those that it refers to."""
        main = self._query.main
        targets = dict.fromkeys(target for target, _ in main.links.values() if target != main.name)
        return [main, *(self._tables[target] for target in targets if target in self._tables)]

    def _join(self, table: Table) -> None:
        main = self._query.main
        for key, (target, column) in main.links.items():
            if target == table.name and table is not main:
                self._query.joins.setdefault(target, f"JOIN {target} ON {target}.{column} = {main.name}.{key}")
                return

    def _order(self, alias: str) -> None:
        """Order groups: by what is counted where the question ranks them, else by the group."""
        if self._query.group is None:
            return
        top = _TOP.search(self._lower)
        if top or _DOWN.search(self._lower):
            self._query.order = f"{alias} DESC"
        elif _UP.search(self._lower):
            self._query.order = f"{alias} ASC"
        else:
            self._query.order = self._query.group
        if top:
            self._query.limit = int(top.group(1) or top.group(2))
        elif _WHICH_ONE.search(self._lower) and self._query.order != self._query.group:
            self._query.limit = 1

    def _rows(self, measure: Column | None) -> None:
        """Rows without grouping: the requested columns, else those that a person would want to see."""
        main = self._query.main
        named = [column for column in main.columns if column.stems & (self._question.words - main.stems)]
        shown = ([main.label] if main.label is not None and main.label not in named else []) + named
        if len(shown) < 2:
            shown = [column for column in main.columns if column in shown or not column.is_key][:5] or [main.columns[0]]
        self._query.columns.extend(_at(main, column) for column in shown)
        top = _TOP.search(self._lower)
        if _LATEST.search(self._lower) and main.when is not None:
            self._query.order = f"{_at(main, main.when)} DESC"
        elif measure is not None and (top or _DOWN.search(self._lower)):
            self._query.order = f"{_at(main, measure)} DESC"
        elif measure is not None and _UP.search(self._lower):
            self._query.order = f"{_at(main, measure)} ASC"
        if top:
            self._query.limit = int(top.group(1) or top.group(2))
        elif self._query.order:
            self._query.limit = 10

    def _period(self, unit: str, place: str) -> str:
        if self._sqlite:
            return f"strftime('{_PERIOD_FORMS.get(unit, '%Y-%m')}', {place})"
        return f"date_trunc('{unit}', {place})"


def _at(table: Table, column: Column) -> str:
    return f"{table.name}.{column.name}"
