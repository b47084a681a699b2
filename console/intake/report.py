"""What is told of an intake: ids and a table for people, one JSON document for programs."""

from __future__ import annotations

import sys
from typing import Any, Protocol, TypeVar

import typer

from console.intake.intake import Taken
from console.output import dumped, note, print_table
from errors import HeadraceError

_MOST_SHOWN = 100

Dealt = TypeVar("Dealt", contravariant=True)


class Report(Protocol[Dealt]):
    """Hears of what was dealt with (``taken``: good lines, ``refused``: bad ones), then of the end."""

    taken: int

    @property
    def refused(self) -> int:
        """How many lines were refused."""
        ...

    def add(self, dealt: Dealt) -> None:
        """Some lines have been dealt with, and what was taken of them is done."""
        ...

    def end(self, error: HeadraceError | None) -> None:
        """There are no more lines, or something stopped the intake."""
        ...


class Refusals:
    """The refused lines: all are counted, the first ``keep`` of them kept (None: all)."""

    def __init__(self, keep: int | None = _MOST_SHOWN) -> None:
        self.count = 0
        self.facts: list[dict[str, Any]] = []
        self._keep = keep

    def add(self, number: int, error: HeadraceError | None) -> None:
        """One more."""
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
            note(f"… and {self.count - len(self.facts)} more refused lines; --json tells of all.")

    def sum_up(self, good: str) -> None:
        """Say on standard error how many were good and how many were not."""
        note(f"{good}, {self.count} refused.")


class ForPeople(Report[list[Taken]]):
    """Ids on standard output as they come; the first refused lines as a table on standard error at the end."""

    def __init__(self) -> None:
        self.taken = 0
        self._refusals = Refusals()

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[Taken]) -> None:
        ids = [str(one.job_id) for one in dealt if one.error is None]
        if ids:
            typer.echo("\n".join(ids))
        self.taken += len(ids)
        for one in dealt:
            if one.error is not None:
                self._refusals.add(one.number, one.error)

    def end(self, error: HeadraceError | None) -> None:
        self._refusals.show()
        if self.refused or error is not None:
            self._refusals.sum_up(f"{self.taken} enqueued")


class ForPrograms(Report[list[Taken]]):
    """``{"jobs": [{"line", "id"}, …], "refused": [{"line", "field", "reason", "code"}, …], "enqueued": n, …}``.

    The jobs are written as they come, so that they need no memory; it is a whole document only after :meth:`end`.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._refusals = Refusals(keep=None)
        typer.echo('{"jobs": [', nl=False)

    @property
    def refused(self) -> int:
        return self._refusals.count

    def add(self, dealt: list[Taken]) -> None:
        parts = [dumped({"line": one.number, "id": one.job_id}) for one in dealt if one.error is None]
        if parts:
            typer.echo((",\n" if self.taken else "\n") + ",\n".join(parts), nl=False)
        self.taken += len(parts)
        for one in dealt:
            if one.error is not None:
                self._refusals.add(one.number, one.error)

    def end(self, error: HeadraceError | None) -> None:
        rest: dict[str, Any] = {"refused": self._refusals.facts, "enqueued": self.taken}
        if error is not None:
            rest["error"] = error.as_dict()
        typer.echo(f"],\n{dumped(rest)[1:]}")
        sys.stdout.flush()


def _facts(number: int, error: HeadraceError) -> dict[str, Any]:
    reason = error.message
    if error.value is not None:
        reason += f" (got {error.as_dict()['value']})"
    if error.hint:
        reason += f" {error.hint}"
    return {"line": number, "field": error.field, "reason": reason, "code": error.code}
