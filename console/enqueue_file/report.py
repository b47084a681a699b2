"""The report of an intake: ids and a table for people, one JSON document for programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import typer

from console.enqueue_file.intake import LineOutcome
from console.terminal.output import note, print_table, to_json
from errors import HeadraceError, joined

_MOST_SHOWN = 100

Dealt = TypeVar("Dealt", contravariant=True)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: at the end of its lines, or before.

    ``after_line``: the last line that it handled (0: none). ``has_begun``: whether it began to read lines.
    """

    after_line: int = 0
    error: HeadraceError | None = None
    interrupted: bool = False
    has_begun: bool = True

    @property
    def is_early(self) -> bool:
        """Whether lines may be left."""
        return self.interrupted or self.error is not None

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        facts: dict[str, Any] = {"after_line": self.after_line, "interrupted": self.interrupted}
        return facts if self.error is None else facts | {"error": self.error.as_dict()}


class Report(Protocol[Dealt]):
    """Receives the handled lines (``taken``: valid ones, ``refused``: invalid ones), then the end."""

    taken: int

    @property
    def refused(self) -> int:
        """How many lines were refused."""
        ...

    def add(self, dealt: Dealt) -> None:
        """Some lines have been handled, and the valid ones among them are committed."""
        ...

    def end(self, end: End) -> None:
        """There are no more lines, or something stopped the run."""
        ...


class Refusals:
    """The refused lines: all are counted, the first ``keep`` of them are kept (None: all)."""

    def __init__(self, keep: int | None = _MOST_SHOWN) -> None:
        self.count = 0
        self.facts: list[dict[str, Any]] = []
        self._keep = keep

    def add(self, number: int, error: HeadraceError | None) -> None:
        """Add one more refused line."""
        assert error is not None, "only of refused lines"
        self.count += 1
        if self._keep is None or len(self.facts) < self._keep:
            self.facts.append(_facts(number, error))

    def show(self) -> None:
        """Print those that were kept as a table on standard error."""
        if self.facts:
            rows = [list(one.values()) for one in self.facts]
            print_table(["line", "field", "reason", "code"], rows, numbers=["line"], to_error=True)
        if self.count > len(self.facts):
            note(f"… and {self.count - len(self.facts)} more refused lines; --json lists all.")

    def sum_up(self, good: str) -> None:
        """Print on standard error how many lines were valid and how many were not."""
        note(f"{good}, {self.count} refused.")


class ForPeople(Report[list[LineOutcome]]):
    """Ids on standard output as they come; the first refused lines as a table on standard error at the end."""

    def __init__(self) -> None:
        self.taken = 0
        self._already = 0
        self._refusals = Refusals()

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[LineOutcome]) -> None:
        ids = [str(one.job_id) for one in dealt if one.error is None]
        if ids:
            typer.echo("\n".join(ids))
        self.taken += len(ids)
        self._already += sum(one.already for one in dealt)
        for one in dealt:
            if one.error is not None:
                self._refusals.add(one.number, one.error)

    def end(self, end: End) -> None:
        self._refusals.show()
        if self.refused or self._already or (end.is_early and end.after_line):
            there = f", {self._already} existed already" if self._already else ""
            self._refusals.sum_up(f"{self.taken - self._already} enqueued{there}")
        if end.is_early and end.has_begun:
            note(_where(end))


class ForPrograms(Report[list[LineOutcome]]):
    """``{"jobs": [{"line", "id"}, …], "refused": [{"line", "field", "reason", "code"}, …], "enqueued": n, …}``.

    A job that existed already has ``"already": true`` beside its id. The jobs are written as they come, so that they
    need no memory. The document is whole only after :meth:`end`.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._already = 0
        self._refusals = Refusals(keep=None)
        typer.echo('{"jobs": [', nl=False)

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[LineOutcome]) -> None:
        parts = [
            to_json({"line": one.number, "id": one.job_id} | ({"already": True} if one.already else {}))
            for one in dealt
            if one.error is None
        ]
        if parts:
            typer.echo((",\n" if self.taken else "\n") + ",\n".join(parts), nl=False)
        self.taken += len(parts)
        self._already += sum(one.already for one in dealt)
        for one in dealt:
            if one.error is not None:
                self._refusals.add(one.number, one.error)

    def end(self, end: End) -> None:
        rest: dict[str, Any] = {
            "refused": self._refusals.facts,
            "enqueued": self.taken - self._already,
            "already": self._already,
            **end.facts(),
        }
        typer.echo(f"],\n{to_json(rest)[1:]}")
        sys.stdout.flush()


def _where(end: End) -> str:
    """The last line that a stopped run handled, and how to continue."""
    if not end.after_line:
        return "Stopped: no line was enqueued."
    return (
        f"Stopped: the lines up to {end.after_line} were enqueued, the others were not. To go on, send the same file "
        "again, if each line has an idempotency key; else "
        f"`tail -n +{end.after_line + 1} FILE | headrace jobs enqueue --file -`."
    )


def _facts(number: int, error: HeadraceError) -> dict[str, Any]:
    reason = error.message
    if error.value is not None:
        reason += f" (got {error.as_dict()['value']})"
    return {"line": number, "field": error.field, "reason": joined(reason, error.hint), "code": error.code}
