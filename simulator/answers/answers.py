"""The model's answer: chosen by the kind of work, written from the words of the request, the same every time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from errors import SchemaTooCostlyError
from simulator.answers import prose
from simulator.answers.content import MaterialContent
from simulator.answers.dice import Dice
from simulator.answers.legal import legal_summary
from simulator.answers.reading import Reading, material, tagged, without_tags
from simulator.answers.schema_check import schema_fault
from simulator.answers.schema_fill import fill
from simulator.answers.sql_answer import SqlAnswer, write_sql
from simulator.answers.sql_tables import Table, tables_in, without_tables
from simulator.protocol.asked import SimulatedRequest

_SQL = re.compile(r"sql\b", re.IGNORECASE)
_LEGAL = re.compile(r"\b(?:clauses?|contracts?|legal|lawyers?|counsel)\b", re.IGNORECASE)
_SUPPORT = re.compile(r"\b(?:tickets?|support|helpdesk|customer service)\b", re.IGNORECASE)
_MARKED = re.compile(r"(?:^|\n)\s*(?:question|request|task)\s*:\s*(.+)", re.IGNORECASE)
_CUSTOMER = re.compile(r"^(?:customer|from|name)\s*:\s*([^\n,]{2,80})", re.IGNORECASE | re.MULTILINE)
_IN_WORDS = re.compile(r"json schema\b", re.IGNORECASE)


def answer(asked: SimulatedRequest) -> str:
    """The answer's text: JSON where a schema, a tool or JSON mode asks for it, prose or SQL otherwise.

    An answer by schema that would cost too much is an empty object.
    """
    work = _Work(asked)
    schema = asked.tool.schema if asked.tool is not None else asked.schema or _schema_in_words(asked.system)
    if schema is not None:
        try:
            value = fill(schema, work.content())
        except (SchemaTooCostlyError, OverflowError):
            value = {}
    elif asked.json_mode:
        value = {"answer": work.text()}
    else:
        return work.text()
    return json.dumps(value, ensure_ascii=False)


class _Work:
    """One request, sorted into a kind of work."""

    def __init__(self, asked: SimulatedRequest) -> None:
        self._system = asked.system
        self._question = asked.question or asked.system
        # The system prompt, if there is one, says what the work is; the rest may be about anything.
        self._task = asked.system or self._question
        self._dice = Dice(asked.model, asked.system, *(text for _, text in asked.turns))
        self._tables = self._find_tables() if _SQL.search(self._task) else ()
        self._read = Reading(self._data_question() if self._tables else material(self._question))

    def text(self) -> str:
        """The answer as free text."""
        if self._tables:
            return self._sql.sql or self._sql.explanation
        if _SUPPORT.search(self._task):
            return self._reply()
        if _LEGAL.search(self._task):
            return self._legal()
        return prose.chat_answer(Reading(without_tags(self._question)), self._dice)

    def content(self) -> MaterialContent:
        """The values for an answer by schema."""
        fields: list[tuple[str, Callable[[], str]]] = []
        if self._tables:
            fields = [
                (r"sql|query|statement", lambda: self._sql.sql),
                (r"explan|reason|note|comment", lambda: self._sql.explanation),
            ]
        elif _SUPPORT.search(self._task):
            fields = [(r"reply|draft|response|answer|message|body", self._reply)]
        elif _LEGAL.search(self._task):
            fields = [(r"summar|abstract|overview", self._legal)]
        return MaterialContent(self._read, self._question, self._dice, fields)

    @cached_property
    def _sql(self) -> SqlAnswer:
        sqlite = re.search(r"\bsqlite\b", f"{self._system}\n{self._question}", re.IGNORECASE) is not None
        return write_sql(self._read.text, self._tables, sqlite=sqlite)

    def _reply(self) -> str:
        named = _CUSTOMER.search(self._question)
        return prose.reply_draft(self._read, self._dice, named.group(1).strip() if named else None)

    def _legal(self) -> str:
        return legal_summary(self._read, self._system, self._dice)

    def _find_tables(self) -> tuple[Table, ...]:
        """The tables to query; a schema between tags is read alone, so that it is parsed once for all its questions."""
        shown = tagged(self._question, "schema")
        return (tables_in(shown) if shown is not None else ()) or tables_in(f"{self._system}\n{self._question}")

    def _data_question(self) -> str:
        """The question about the data, apart from the schema around it."""
        if (marked := tagged(self._question, "question")) is not None:
            return marked
        rest = without_tags(without_tables(self._question))
        if line := _MARKED.search(rest):
            return line.group(1).strip()
        sentences = Reading(rest).sentences
        asking = [sentence for sentence in sentences if sentence.endswith("?")]
        return (asking or sentences or [rest])[-1]


def _schema_in_words(system: str) -> dict[str, Any] | None:
    """The JSON schema that the instructions themselves ask for, where the request has no field for it."""
    found = _IN_WORDS.search(system)
    start = -1 if found is None else system.find("{", found.end())
    if start < 0:
        return None
    try:
        schema, _ = json.JSONDecoder().raw_decode(system, start)
    except (ValueError, RecursionError):
        return None
    return schema if isinstance(schema, dict) and schema_fault(schema) is None else None
