"""What the model says: chosen by the kind of work, written from the words of the request, the same every time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from console.simulator import prose
from console.simulator.asked import Asked
from console.simulator.content import MaterialContent
from console.simulator.dice import Dice
from console.simulator.reading import Reading, material
from console.simulator.schema_fill import fill
from console.simulator.sql_answer import write_sql
from console.simulator.sql_tables import Table, tables_in, without_tables

_SQL = re.compile(r"\bSQL\b|\bquery\b", re.IGNORECASE)
_LEGAL = re.compile(r"\b(?:clause|contract|agreement|legal|lawyer|counsel)\b", re.IGNORECASE)
_SUPPORT = re.compile(r"\b(?:ticket|support|helpdesk|customer service)\b", re.IGNORECASE)
_QUESTION = re.compile(r"(?:^|\n)\s*(?:question|request|task)\s*:\s*(.+)", re.IGNORECASE)


def answer(asked: Asked) -> str:
    """The answer's text: JSON where a schema, a tool or JSON mode asks for it, prose or SQL otherwise."""
    work = _Work(asked)
    schema = asked.tool.schema if asked.tool is not None else asked.schema
    if schema is not None:
        value = fill(schema, work.content())
    elif asked.json_mode:
        value = {"answer": work.text()}
    else:
        return work.text()
    return json.dumps(value, ensure_ascii=False)


class _Work:
    """One request, sorted into a kind of work."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._question = asked.question
        self._around = f"{asked.system}\n{self._question}"
        self._read = Reading(material(self._question) or asked.system)
        self._dice = Dice(asked.model, asked.system, *(text for _, text in asked.turns))
        self._tables = self._find_tables()

    def text(self) -> str:
        """The answer as free text."""
        if self._tables:
            return self._sql()
        if _LEGAL.search(self._around):
            return prose.legal_summary(self._read, self._dice)
        if _SUPPORT.search(self._around):
            return prose.reply_draft(self._read, self._dice)
        return prose.chat_answer(Reading(self._question), self._dice)

    def content(self) -> MaterialContent:
        """The values for an answer by schema."""
        sql: Callable[[], str] | None = self._sql if self._tables else None
        return MaterialContent(self._read, self._question, self._dice, self._summary, sql)

    def _summary(self) -> str:
        if _LEGAL.search(self._around):
            return prose.legal_summary(self._read, self._dice)
        return prose.short_summary(self._read)

    def _sql(self) -> str:
        sqlite = re.search(r"\bsqlite\b", self._around, re.IGNORECASE) is not None
        return write_sql(self._data_question(), self._tables, sqlite=sqlite)

    def _find_tables(self) -> list[Table]:
        return tables_in(self._around) if _SQL.search(self._around) else []

    def _data_question(self) -> str:
        """The sentence that asks for data, apart from the schema around it."""
        rest = without_tables(re.sub(r"</?[A-Za-z][\w-]*>|```\w*", "\n\n", self._question))
        if marked := _QUESTION.search(rest):
            return marked.group(1).strip()
        sentences = Reading(rest).sentences
        asking = [sentence for sentence in sentences if sentence.endswith("?")]
        return (asking or sentences or [rest])[-1]
