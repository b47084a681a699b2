"""What is told of an intake: ids and a table for people, one JSON document for programs."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import typer

from console.intake.intake import Taken
from console.output import dumped, note, print_table
from errors import HeadraceError

_MOST_SHOWN = 100


class Report(Protocol):
    """Hears of each window of lines, then of the end."""

    enqueued: int
    refused: int

    def add(self, window: list[Taken]) -> None:
        """Some lines have been dealt with, and what was taken is committed."""
        ...

    def end(self, error: HeadraceError | None) -> None:
        """There are no more lines, or something stopped the intake."""
        ...


class ForPeople:
    """Ids on standard output as they come; the first refused lines as a table on standard error at the end."""

    def __init__(self) -> None:
        self.enqueued = 0
        self.refused = 0
        self._shown: list[Taken] = []

    def add(self, window: list[Taken]) -> None:
        ids = [str(one.job_id) for one in window if one.error is None]
        if ids:
            typer.echo("\n".join(ids))
        refused = [one for one in window if one.error is not None]
        self.enqueued += len(ids)
        self.refused += len(refused)
        self._shown += refused[: _MOST_SHOWN - len(self._shown)]

    def end(self, error: HeadraceError | None) -> None:
        if self._shown:
            rows = [_facts(one).values() for one in self._shown]
            print_table(
                ["line", "field", "reason", "code"], [list(row) for row in rows], numbers=["line"], to_error=True
            )
        if self.refused > len(self._shown):
            note(f"… and {self.refused - len(self._shown)} more refused lines; --json tells of all.")
        if self.refused or error is not None:
            note(f"{self.enqueued} enqueued, {self.refused} refused.")


class ForPrograms:
    """``{"jobs": [{"line", "id"}, …], "refused": [{"line", "field", "reason", "code"}, …], "enqueued": n, …}``.

    The jobs are written as they come, so that they need no memory; it is a whole document only after :meth:`end`.
    """

    def __init__(self) -> None:
        self.enqueued = 0
        self.refused = 0
        self._facts: list[dict[str, Any]] = []
        typer.echo('{"jobs": [', nl=False)

    def add(self, window: list[Taken]) -> None:
        parts = [dumped({"line": one.number, "id": one.job_id}) for one in window if one.error is None]
        if parts:
            typer.echo((",\n" if self.enqueued else "\n") + ",\n".join(parts), nl=False)
        self._facts += [_facts(one) for one in window if one.error is not None]
        self.enqueued += len(parts)
        self.refused = len(self._facts)

    def end(self, error: HeadraceError | None) -> None:
        rest: dict[str, Any] = {"refused": self._facts, "enqueued": self.enqueued}
        if error is not None:
            rest["error"] = error.as_dict()
        typer.echo(f"],\n{dumped(rest)[1:]}")
        sys.stdout.flush()


def _facts(one: Taken) -> dict[str, Any]:
    assert one.error is not None, "only of refused lines"
    reason = one.error.message
    if one.error.value is not None:
        reason += f" (got {one.error.as_dict()['value']})"
    if one.error.hint:
        reason += f" {one.error.hint}"
    return {"line": one.number, "field": one.error.field, "reason": reason, "code": one.error.code}
