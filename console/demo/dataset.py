"""The demo's input as typed items: tickets, contract clauses, questions about data (``data/README.md``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Annotated, ClassVar, Final, TypeVar

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from errors import InvalidInputError
from wording import describe

_DATA: Final = files("console.demo") / "data"
_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Ticket:
    """One support ticket of the tenant Brightdesk."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    user: _Text
    customer: _Text
    product: _Text
    ticket: _Text

    @property
    def variables(self) -> dict[str, str]:
        """What the prompt ``support_reply`` asks for."""
        return {"ticket": self.ticket, "customer": self.customer, "product": self.product}


@dataclass(frozen=True, slots=True)
class Clause:
    """One contract clause that a lawyer of the tenant Hartwell & Moss wants summarised."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    user: _Text
    jurisdiction: _Text
    clause: _Text

    @property
    def variables(self) -> dict[str, str]:
        """What the prompt ``legal_summary`` asks for."""
        return {"clause": self.clause, "jurisdiction": self.jurisdiction}


@dataclass(frozen=True, slots=True)
class Question:
    """One question about data of the tenant Plotline."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    user: _Text
    question: _Text
    schema: _Text
    """The schema itself (SQL); in the file, its key in ``sql_schemas.json``."""

    @property
    def variables(self) -> dict[str, str]:
        """What the prompt ``sql_generation`` asks for."""
        return {"question": self.question, "schema": self.schema}


def load_tickets() -> list[Ticket]:
    """The support tickets, in the order of the file.

    :raises InvalidInputError: a line is not a ticket; the error names it.
    """
    return _load("support_tickets.jsonl", Ticket)


def load_clauses() -> list[Clause]:
    """The contract clauses, in the order of the file.

    :raises InvalidInputError: a line is not a clause; the error names it.
    """
    return _load("contract_clauses.jsonl", Clause)


def load_questions() -> list[Question]:
    """The questions with the schemas they are about, in the order of the file.

    :raises InvalidInputError: a line is not a question or names an unknown schema; the error names it.
    """
    schemas = TypeAdapter(dict[str, str]).validate_json(_read("sql_schemas.json"))
    return with_schemas(_load("sql_questions.jsonl", Question), schemas, "sql_questions.jsonl")


def parse_lines(text: str, kind: type[_Item], source: str) -> list[_Item]:
    """One ``kind`` for each line of ``text``, which is JSON lines.

    :param source: the name of the text in errors.
    :raises InvalidInputError: a line is blank or not a ``kind``; ``field`` is ``source:line``, the line counted from 1.
    """
    adapter = TypeAdapter(kind)
    items = []
    # Not splitlines(): JSON strings may hold U+2028 and its like, which end a line for Python but not for JSON lines.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            items.append(adapter.validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            problem = f"{where}: {describe(first)}" if where else describe(first)
            raise InvalidInputError(problem, field=f"{source}:{number}", value=line) from error
    return items


def with_schemas(questions: list[Question], schemas: dict[str, str], source: str) -> list[Question]:
    """The ``questions`` with the key in ``schema`` replaced by the schema itself.

    :raises InvalidInputError: a key is unknown; ``field`` is ``source:line``.
    """
    for number, question in enumerate(questions, start=1):
        if question.schema not in schemas:
            raise InvalidInputError(
                "unknown schema",
                field=f"{source}:{number}",
                value=question.schema,
                hint=f"There are: {', '.join(sorted(schemas))}.",
            )
    return [replace(question, schema=schemas[question.schema]) for question in questions]


def _load(name: str, kind: type[_Item]) -> list[_Item]:
    return parse_lines(_read(name), kind, name)


def _read(name: str) -> str:
    return (_DATA / name).read_text(encoding="utf-8")
