"""The tables that a prompt shows: ``CREATE TABLE`` statements, or lines such as ``orders(id, total, paid_at date)``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from simulator.answers.reading import stem

_CREATE = re.compile(r"create\s+table\s+(?:if\s+not\s+exists\s+)?([\w.\"`]+)\s*\(", re.IGNORECASE)
_SHORT = re.compile(
    r"^[ \t]*(?:[-*•][ \t]*)?(?:table[ \t]+)?`?([A-Za-z_][\w.]*)`?[ \t]*(?:\(([^()\n]+)\)|:[ \t]*([\w ,\t]+))", re.M
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_REFERENCES = re.compile(r"references\s+([\w.\"`]+)\s*(?:\(\s*[\"`]?(\w+)[\"`]?\s*\))?", re.IGNORECASE)
_FOREIGN = re.compile(r"foreign\s+key\s*\(\s*[\"`]?(\w+)[\"`]?\s*\)\s*" + _REFERENCES.pattern, re.IGNORECASE)
_PRIMARY = re.compile(r"\bprimary\s+key\b", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'")
_NO_COLUMN = {"primary", "foreign", "unique", "constraint", "check", "key", "index", "exclude", "like"}
_NUMERIC = re.compile(r"int|numeric|decimal|real|double|float|money|serial|number", re.IGNORECASE)
_MEASURE = ("amount", "total", "price", "cost", "quantity", "revenue", "value", "score", "usd", "eur", "cents", "qty")
_WHEN = re.compile(r"(?:_at|_on|date|time|day)$|^at$|^(?:date|time)|timestamp", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``values`` are those that its definition lists, and it ``identifies`` as a key or a reference."""

    name: str
    kind: str
    values: tuple[str, ...]
    identifies: bool = False

    @property
    def is_key(self) -> bool:
        return self.identifies or self.name.lower() == "id" or self.name.lower().endswith("_id")

    @property
    def is_when(self) -> bool:
        return bool(re.search("date|time", self.kind, re.IGNORECASE) or _WHEN.search(self.name))

    @property
    def is_number(self) -> bool:
        by_name = not self.kind and any(word in self.name.lower() for word in _MEASURE)
        return not self.is_key and not self.is_when and bool(by_name or _NUMERIC.search(self.kind))

    @property
    def is_text(self) -> bool:
        return not (self.is_key or self.is_when or self.is_number) and "bool" not in self.kind.lower()

    @property
    def stems(self) -> set[str]:
        return stems(self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """One table; ``links`` maps a column to the table and column that it points to."""

    name: str
    columns: tuple[Column, ...]
    links: dict[str, tuple[str, str]]

    @property
    def stems(self) -> set[str]:
        return stems(self.name.rpartition(".")[2])

    @property
    def label(self) -> Column | None:
        """The column by which a person would recognise a row."""
        texts = [column for column in self.columns if column.is_text]
        return next((column for column in texts if column.stems & {"name", "title", "label", "code"}), None) or next(
            iter(texts), None
        )

    @property
    def when(self) -> Column | None:
        """The column with a row's time of creation."""
        return next((column for column in self.columns if column.is_when), None)


@lru_cache(maxsize=64)
def tables_in(text: str) -> tuple[Table, ...]:
    """The tables described in ``text``, links between them resolved."""
    clean = _COMMENT.sub("", _values_kept(text))
    found = {}
    for match in _CREATE.finditer(clean):
        table = _created(_bare(match.group(1)), _balanced(clean, match.end()))
        found[table.name] = table
    if not found:
        for match in _SHORT.finditer(clean):
            columns = [part.strip() for part in (match.group(2) or match.group(3)).split(",")]
            if len(columns) > 1 and all(re.fullmatch(r"[A-Za-z_]\w*(?:[ :]+[\w ]+)?", column) for column in columns):
                found[match.group(1)] = _created(match.group(1), ", ".join(columns))
    return tuple(_linked(table, found) for table in found.values())


def without_tables(text: str) -> str:
    """``text`` without its ``CREATE TABLE`` statements."""
    clean = _COMMENT.sub("", text)
    kept, position = [], 0
    for match in _CREATE.finditer(clean):
        if match.start() >= position:
            kept.append(clean[position : match.start()])
            position = match.end() + len(_balanced(clean, match.end())) + 1
    rest = "".join(kept) + clean[position:]
    return _SHORT.sub(" ", rest) if not kept else rest.replace(";", " ")


def stems(name: str) -> set[str]:
    """The words of a name such as ``order_items``, without plural endings."""
    return {stem(part) for part in re.split(r"[\W_]+", name.lower()) if part}


def _created(name: str, body: str) -> Table:
    columns = []
    links = {}
    for definition in _split(body):
        first = re.match(r"[\"`]?(\w+)[\"`]?[\s:]*(.*)", definition, re.DOTALL)
        if first is None:
            continue
        column, rest = first.groups()
        if column.lower() in _NO_COLUMN and '"' not in definition[:1]:
            for key, target, target_column in _FOREIGN.findall(definition):
                links[key] = (_bare(target), target_column)
            continue
        kind = (re.match(r"\w*", rest) or [""])[0]
        reference = _REFERENCES.search(rest)
        is_key = reference is not None or _PRIMARY.search(rest) is not None
        columns.append(Column(column, kind, tuple(_QUOTED.findall(rest)), is_key))
        if reference is not None:
            links[column] = (_bare(reference.group(1)), reference.group(2) or "")
    return Table(name, tuple(columns), links)


def _linked(table: Table, tables: dict[str, Table]) -> Table:
    """Add the links that column names imply: ``customer_id`` points to ``customers``."""
    links = {
        key: (target, column or _key_of(tables[target]))
        for key, (target, column) in table.links.items()
        if target in tables and target != table.name
    }
    for column in table.columns:
        name = column.name.lower()
        if column.name in links or not name.endswith("_id"):
            continue
        for other in tables.values():
            keys = [candidate.name for candidate in other.columns if candidate.name.lower() in ("id", name)]
            if other.name != table.name and keys and stems(name[:-3]) == other.stems:
                links[column.name] = (other.name, keys[0])
    return Table(table.name, table.columns, links)


def _key_of(table: Table) -> str:
    """The column that a reference to the table alone means."""
    keys = [column for column in table.columns if column.identifies or column.is_key]
    return (keys or list(table.columns))[0].name


def _values_kept(text: str) -> str:
    """Values that a comment lists for the column of its line, moved into the column's definition."""
    lines = []
    for line in text.splitlines():
        code, dashes, comment = line.partition("--")
        values = _QUOTED.findall(comment)
        if dashes and len(values) > 1 and ":" not in comment.split("'")[0] and re.match(r"\s*\w+\s+\w", code):
            ended = code.rstrip()
            comma = "," if ended.endswith(",") else ""
            code = ended.removesuffix(",") + " (" + " ".join(f"'{value}'" for value in values) + ")" + comma
        lines.append(code)
    return "\n".join(lines)


def _balanced(text: str, start: int) -> str:
    depth = 1
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return text[start:]


def _split(body: str) -> list[str]:
    parts = [""]
    depth = 0
    for char in body:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def _bare(name: str) -> str:
    return name.replace('"', "").replace("`", "")
