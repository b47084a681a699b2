"""A question turned into SQL over the tables that the prompt shows.

Only columns that exist are used. The question's words choose the tables, what is counted or added up, what it is
grouped by, which rows are meant and in which order they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from console.simulator.languages import gist
from console.simulator.reading import COMMON, stem
from console.simulator.sql_tables import Column, Table, stems

_WORDS = re.compile(r"[a-z0-9_]+")
_AGGREGATES = (
    ("COUNT", r"\bhow many\b|\bnumber of\b|\bcount\b"),
    ("AVG", r"\baverage\b|\bmean\b"),
    ("SUM", r"\btotal\b|\bsum\b|\brevenue\b|\bturnover\b|\bspen[dt]\b|\bspending\b|\bhow much\b"),
)
_GROUP = re.compile(r"\b(?:per|by|for each|in each|for every|each)\s+(?:the\s+)?([a-z_]+(?:[ _][a-z_]+)?)")
_PERIOD = re.compile(
    r"\b(?:per|by|for each|each|every)\s+(day|week|month|quarter|year)\b|\b(monthly|weekly|daily|yearly)\b"
)
_TOP = re.compile(r"\btop\s+(\d+)\b|\b(\d+)\s+(?:most|highest|largest|biggest|best|latest|newest|lowest|smallest)\b")
_DOWN = re.compile(r"\b(?:top|most|highest|largest|biggest|best|maximum)\b")
_UP = re.compile(r"\b(?:lowest|smallest|cheapest|least|fewest|minimum|worst)\b")
_LATEST = re.compile(r"\b(?:latest|newest|most recent|last)\b")
_YEAR = re.compile(r"\b(?:in|during|of|for|since)\s+((?:19|20)\d\d)\b")
_LAST = re.compile(r"\b(?:last|past)\s+(\d+)\s+(day|week|month|year)s?\b")
_BOUND = re.compile(
    r"\b(?:(more than|over|above|greater than|at least)|(less than|under|below|fewer than|at most))"
    r"\s+[$€£]?\s?([\d,]*\d(?:\.\d+)?)(?![\d.,]*\d)(?!\s?(?:min|hour|day|week|month|year|item|time|m\b|%))"
)
_MONEY = {"amount", "total", "price", "revenue", "value", "unit", "monthly", "fee", "cent", "cost", "usd", "eur"}
_UNITS = frozenset({"day", "week", "month", "quarter", "year"})
_CHANGES = re.compile(r"\s*(?:please\s+)?(?:delete|remove|update|insert|drop|truncate|change|set)\b", re.IGNORECASE)
_SECRETS = re.compile(r"\bpasswords?\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"'“‘]([^\"'”’]{2,60})[\"'”’]")
_PLACE = re.compile(r"\b(?:in|from|for|called|named)\s+([A-Z][\w-]+(?:\s[A-Z][\w-]+)*)")


@dataclass(slots=True)
class _Query:
    """A query that grows."""

    main: Table
    columns: list[str] = field(default_factory=list)
    joins: dict[str, str] = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    order: str | None = None
    limit: int | None = None

    def explained(self) -> str:
        """What the query does, in a few sentences."""
        rows = (
            f"one {self.group[0]}"
            if self.group
            else "the whole"
            if "(*)" in self.columns[0]
            else f"one of {self.main.name}"
        )
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

    def text(self) -> str:
        """The query as one statement."""
        lines = ["SELECT " + ", ".join(self.columns), f"FROM {self.main.name}", *self.joins.values()]
        if self.where:
            lines.append("WHERE " + "\n  AND ".join(dict.fromkeys(self.where)))
        if self.group:
            lines.append("GROUP BY " + ", ".join(self.group))
        if self.order:
            lines.append(f"ORDER BY {self.order}")
        if self.limit is not None:
            lines.append(f"LIMIT {self.limit}")
        return "\n".join(lines) + ";"


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """A query and what it does; no query where the tables cannot, or must not, answer the question."""

    sql: str
    explanation: str


def write_sql(question: str, tables: list[Table], *, sqlite: bool = False) -> SqlAnswer:
    """The query that answers ``question`` over ``tables`` (at least one), for Postgres or for SQLite."""
    if _CHANGES.match(question):
        return SqlAnswer("", "The question asks to change data; only reading it is possible here.")
    if _SECRETS.search(question) and not any("password" in column.name for table in tables for column in table.columns):
        return SqlAnswer("", "The schema holds nothing of the kind that the question asks for.")
    query = _Writer(question, tables, sqlite=sqlite).query()
    return SqlAnswer(query.text(), query.explained())


class _Writer:
    def __init__(self, question: str, tables: list[Table], *, sqlite: bool) -> None:
        self._asked = question
        self._lower = gist(question)
        self._words = {stem(word) for word in _WORDS.findall(self._lower.replace("_", " ")) if word not in COMMON}
        self._tables = {table.name: table for table in tables}
        self._sqlite = sqlite
        self._aggregate = next((name for name, pattern in _AGGREGATES if re.search(pattern, self._lower)), None)
        self._query = _Query(max(tables, key=self._fit))

    def query(self) -> _Query:
        aggregate = self._aggregate
        self._filter()
        measure = self._measure(aggregate)
        self._group()
        if measure is not None:
            alias = f"{aggregate.lower()}_{measure.name}" if aggregate and aggregate != "COUNT" else measure.name
        else:
            alias = "row_count"
        if aggregate == "COUNT" or (aggregate and measure is None):
            self._query.columns.append(f"COUNT(*) AS {alias if measure is None else 'row_count'}")
            self._order("row_count")
        elif aggregate and measure is not None:
            self._query.columns.append(f"{aggregate}({self._at(self._query.main, measure)}) AS {alias}")
            self._order(alias)
        elif self._query.group:
            self._query.columns.append("COUNT(*) AS row_count")
            self._order("row_count")
        else:
            self._rows(measure)
        return self._query

    def _fit(self, table: Table) -> float:
        named = table.stems & self._words
        columns = {word for column in table.columns for word in column.stems if not column.is_key}
        # Of two tables that fit, the one that points to the other holds the facts, and sums need something to add up.
        adds_up = self._aggregate in ("SUM", "AVG") and any(column.is_number for column in table.columns)
        return (
            3.0 * len(named) / len(table.stems)
            + len(columns & self._words)
            + 0.3 * len(table.links)
            + (4.0 if adds_up else 0.0)
        )

    def _measure(self, aggregate: str | None) -> Column | None:
        """The number that the question is about."""
        numbers = [column for column in self._query.main.columns if column.is_number]
        named = [column for column in numbers if column.stems & self._words]
        if named:
            return named[0]
        wanted = aggregate in ("SUM", "AVG") or (
            aggregate is None and (_DOWN.search(self._lower) or _UP.search(self._lower))
        )
        money = [
            column for column in numbers if column.stems & {"amount", "total", "price", "cost", "revenue", "value"}
        ]
        return next(iter(money or numbers), None) if wanted else None

    def _group(self) -> None:
        main = self._query.main
        if (period := _PERIOD.search(self._lower)) and main.when is not None:
            unit = (period.group(1) or period.group(2)).removesuffix("ly").replace("dai", "day")
            self._add_group(self._period(unit, self._at(main, main.when)), unit)
            return
        for match in _GROUP.finditer(self._lower):
            parts = [stem(part) for part in re.split(r"[ _]", match.group(1)) if part not in COMMON]
            for wanted in ({*parts}, {*parts[:1]}):
                if found := self._named(wanted):
                    table, column = found
                    self._join(table)
                    self._add_group(self._at(table, column), column.name)
                    return
        if _TOP.search(self._lower) or re.search(
            r"\bwhich\b.*\b(?:most|highest|largest|fewest|lowest|least)\b", self._lower
        ):
            other = next((table for table in self._near() if table.stems & self._words and table is not main), None)
            if other is not None and other.label is not None:
                self._join(other)
                self._add_group(self._at(other, other.label), other.label.name)

    def _add_group(self, expression: str, alias: str) -> None:
        bare = expression.rpartition(".")[2]
        self._query.columns.append(expression if bare == alias else f"{expression} AS {alias}")
        self._query.group.append(expression)

    def _named(self, wanted: set[str]) -> tuple[Table, Column] | None:
        """The column (or the label of the table) that is called ``wanted``, in reach of the main table."""
        for table in self._near():
            for column in table.columns:
                if wanted and wanted <= column.stems and not (column.is_key or column.is_number):
                    return table, column
        for table in self._near():
            if wanted and wanted <= table.stems and table.label is not None:
                return table, table.label
        return None

    def _near(self) -> list[Table]:
        """The main table and those that it points to."""
        linked = [self._tables[target] for target, _ in self._query.main.links.values() if target in self._tables]
        return [self._query.main, *linked]

    def _join(self, table: Table) -> None:
        main = self._query.main
        for key, (target, target_column) in main.links.items():
            if target == table.name and table is not main:
                self._query.joins.setdefault(target, f"JOIN {target} ON {target}.{target_column} = {main.name}.{key}")
                return

    def _filter(self) -> None:
        used: set[str] = set()
        for table in self._near():
            for column in table.columns:
                named = [value for value in column.values if self._is_named(value) and value.lower() not in used]
                used.update(value.lower() for value in named)
                kept = [value for value in named if not self._is_excluded(value)]
                for sign, values in (("IN", kept), ("NOT IN", [value for value in named if value not in kept])):
                    if len(values) == 1:
                        self._where(table, column, f"{'=' if sign == 'IN' else '<>'} '{_escaped(values[0])}'")
                    elif values:
                        self._where(table, column, f"{sign} ({', '.join(f"'{_escaped(value)}'" for value in values)})")
        for match in [*_QUOTED.finditer(self._asked), *_PLACE.finditer(self._asked)]:
            value = match.group(1).strip()
            if value.lower() in used or _is_month(value):
                continue
            if found := self._holder(guess=match.re is _PLACE):
                used.add(value.lower())
                self._where(*found, f"= '{_escaped(value)}'")
        self._filter_time()
        if bound := _BOUND.search(self._lower):
            numbers = [column for column in self._query.main.columns if column.is_number]
            named = [column for column in numbers if column.stems & self._words]
            if numbers:
                sign = ">" if bound.group(1) else "<"
                sign += "=" if bound.group(1) == "at least" or bound.group(2) == "at most" else ""
                self._where(self._query.main, (named or numbers)[0], f"{sign} {bound.group(3).replace(',', '')}")

    def _filter_time(self) -> None:
        when = self._query.main.when
        if when is None:
            return
        place = self._at(self._query.main, when)
        if year := _YEAR.search(self._lower):
            first = int(year.group(1))
            self._query.where.append(f"{place} >= '{first}-01-01'")
            if not year.group().startswith("since"):
                self._query.where.append(f"{place} < '{first + 1}-01-01'")
        if last := _LAST.search(self._lower):
            number, unit = last.groups()
            since = f"date('now', '-{number} {unit}s')" if self._sqlite else f"now() - interval '{number} {unit}s'"
            self._query.where.append(f"{place} >= {since}")

    def _is_named(self, value: str) -> bool:
        words = stems(value)
        return bool(words) and words <= self._words and not words <= _UNITS

    def _is_excluded(self, value: str) -> bool:
        before = r"(?:non-|not |no |without |exclud\w+ |except |ignor\w+ |leaving out (?:what was )?)"
        return re.search(before + r"(?:the |any )?" + re.escape(value.lower()), self._lower) is not None

    def _holder(self, *, guess: bool) -> tuple[Table, Column] | None:
        """Where a name in the question is stored: in a column that the question mentions, else, as a guess, a place."""
        texts = [(table, column) for table in self._near() for column in table.columns if column.is_text]
        places = ({"country", "region", "city", "state"}, {"name", "title"}) if guess else ()
        for wanted in (self._words, *places):
            for table, column in texts:
                if column.stems & wanted and not column.values:
                    return table, column
        return None

    def _where(self, table: Table, column: Column, condition: str) -> None:
        self._join(table)
        self._query.where.append(f"{self._at(table, column)} {condition}")

    def _order(self, alias: str) -> None:
        if not self._query.group:
            return
        top = _TOP.search(self._lower)
        if top or _DOWN.search(self._lower):
            self._query.order = f"{alias} DESC"
        elif _UP.search(self._lower):
            self._query.order = f"{alias} ASC"
        else:
            self._query.order = self._query.group[0]
        if top:
            self._query.limit = int(top.group(1) or top.group(2))
        elif re.search(r"\bwhich\s+\w+\b(?!s\b)", self._lower) and self._query.order.startswith(alias):
            self._query.limit = 1

    def _rows(self, measure: Column | None) -> None:
        """Rows as they are: the columns asked for, else what a person would want to see."""
        main = self._query.main
        named = [column for column in main.columns if column.stems & (self._words - main.stems)]
        shown = ([main.label] if main.label is not None and main.label not in named else []) + named
        if len(shown) < 2:
            shown = [column for column in main.columns if column in shown or not column.is_key][:5] or [main.columns[0]]
        self._query.columns.extend(self._at(main, column) for column in shown)
        top = _TOP.search(self._lower)
        if _LATEST.search(self._lower) and not _LAST.search(self._lower) and main.when is not None:
            self._query.order = f"{self._at(main, main.when)} DESC"
        elif measure is not None and (top or _DOWN.search(self._lower)):
            self._query.order = f"{self._at(main, measure)} DESC"
        elif measure is not None and _UP.search(self._lower):
            self._query.order = f"{self._at(main, measure)} ASC"
        if top:
            self._query.limit = int(top.group(1) or top.group(2))
        elif self._query.order:
            self._query.limit = 10

    def _period(self, unit: str, place: str) -> str:
        if self._sqlite:
            form = {"day": "%Y-%m-%d", "week": "%Y-%W", "month": "%Y-%m", "year": "%Y"}.get(unit, "%Y-%m")
            return f"strftime('{form}', {place})"
        return f"date_trunc('{unit}', {place})"

    def _at(self, table: Table, column: Column) -> str:
        return f"{table.name}.{column.name}"


def _escaped(value: str) -> str:
    return value.replace("'", "''")


def _is_month(value: str) -> bool:
    return value[:3].lower() in {
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    } and bool(re.fullmatch(r"(?i)[a-z]{3,9}(?: \d{4})?", value))  # fmt: skip
