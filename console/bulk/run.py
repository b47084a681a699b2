"""One run of a command over many jobs: the filters, the services, the question to the user, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import typer

from console.actor import actor
from console.bulk import change
from console.bulk.change import BulkChange, Preview
from console.bulk.choice import Choice, id_file, operator_database
from console.bulk.export import Exported, export, sink
from console.bulk.filters import Filters
from console.bulk.lines import FileFormat
from console.composition import wire_from
from console.connect import DATABASE, DATABASE_AND_WIRE, connect
from console.terminal import failure
from console.terminal.interrupt import CUT_OFF, INTERRUPTED, forget_output
from console.terminal.output import count_of, note, print_json, print_table, to_json
from errors import InvalidInputError
from settings import Settings
from storage.db.database import Database
from storage.jobs import selection
from storage.jobs.jobs import Repeated, State

DONE, DECLINED, SOME_UNKNOWN = 0, 1, 3
"""Exit codes, beside those of :mod:`console.terminal.interrupt`."""


@dataclass(frozen=True, slots=True)
class JobChoice:
    """Which jobs a command is about, as the command line says it."""

    filters: Filters
    ids: Path | None = None
    everything: bool = False

    @contextmanager
    def choice(
        self, database: Database, *, allowed: Sequence[State] = (), default: Sequence[State] = ()
    ) -> Iterator[Choice]:
        """The chosen jobs. ``allowed``: the states that the command is for; ``default``: the states if none is given.

        A command that is for some states only changes jobs, so it leaves out jobs that come in from now on.

        :raises InvalidInputError: a filter cannot be read, or a state is not one that the command is for.
        """
        wrong = [one for one in self.filters.meant if allowed and one not in allowed]
        if wrong:
            raise InvalidInputError(
                "is not a state that this command is for", field="state", value=wrong[0].value,
                hint=f"One of: {', '.join(allowed)}.",
            )  # fmt: skip
        with database.connection() as connection:
            chosen = self.filters.selection(connection)
            if allowed:
                now = selection.moment(connection)
                chosen = replace(chosen, states=chosen.states or tuple(default), until=min(chosen.until or now, now))
        with id_file(self.ids) as ids:
            yield Choice(chosen, ids)

    def check(self) -> None:
        """Make sure that the command line says which jobs are meant. Raises :class:`errors.InvalidInputError`."""
        self.filters.require(ids=self.ids, everything=self.everything)


def results(asked: JobChoice, *, output: Path | None, form: FileFormat, after: UUID | None, as_json: bool) -> int:
    """Write results; the exit code."""
    asked.check()
    if after is not None and asked.ids is not None:
        raise InvalidInputError("goes with no file of ids", field="after", hint="Take the ids that are done out of it.")
    runs: list[Exported] = []
    with (
        connect(Settings(), DATABASE) as services,
        operator_database(services.require_ops()) as database,
        asked.choice(database) as choice,
        sink(output, runs) as to,
    ):
        runs.append(export(database, choice, to, form, after=after))
    (done,) = runs
    if done.cut_off:
        forget_output()
        return CUT_OFF
    to_file = output is not None and str(output) != "-"
    if as_json:
        document = done.facts() | {"output": str(output) if to_file and done.is_whole else None}
        typer.echo(to_json(document), err=not to_file)
    else:
        _tell_results(done, output if to_file else None)
    return _code(done, done.unknown)


def cancel(asked: JobChoice, *, yes: bool, as_json: bool) -> int:
    """Cancel the chosen jobs, after showing how many they are; the exit code."""
    asked.check()
    with (
        connect(Settings(), DATABASE) as services,
        operator_database(services.require_ops()) as database,
        asked.choice(database, allowed=change.CANCELLABLE, default=change.CANCELLABLE) as choice,
    ):
        seen = change.preview(database, choice)
        if not _may(seen, asked, "cancel", "cancelled", yes=yes, as_json=as_json):
            return DECLINED
        done = change.cancel(database, choice, by=actor())
    counts = {one: done.outcomes[one] for one in ("cancelled", "cancelling")}
    counts["ended_before"] = done.outcomes.total() - sum(counts.values())
    if as_json:
        print_json({**counts, **_rest(seen, done)})
    else:
        _tell_change(counts, seen, done)
    return _code(done, seen.unknown)


def run_again(asked: JobChoice, *, yes: bool, as_json: bool) -> int:
    """Retry the chosen jobs, after showing how many they are; the exit code."""
    asked.check()
    settings = Settings()
    default = (State.FAILED,) if asked.ids is None else change.REPEATABLE
    with (
        connect(settings, DATABASE_AND_WIRE) as services,
        operator_database(services.require_ops()) as database,
        asked.choice(database, allowed=change.REPEATABLE, default=default) as choice,
    ):
        seen = change.preview(database, choice)
        if not _may(seen, asked, "retry", "retried", yes=yes, as_json=as_json):
            return DECLINED
        wire = wire_from(settings, services)
        told = _for_programs() if as_json else _for_people
        done = change.run_again(database, choice, wire, told, by=actor())
        wire.close()
    counts = {one: done.outcomes[one] for one in ("asked_again", "already", "not_possible")}
    if as_json:
        typer.echo(f"],\n{to_json({**counts, **_rest(seen, done)})[1:]}")
    else:
        _tell_change(counts, seen, done)
    return _code(done, seen.unknown)


def _may(seen: Preview, asked: JobChoice, verb: str, done: str, *, yes: bool, as_json: bool) -> bool:
    """Whether the change goes ahead; shows how many jobs it is about.

    :raises InvalidInputError: the user did not confirm, and there is no terminal to ask on.
    """
    if not as_json and seen.count:
        counts = [(state, f"{seen.states[state]:,}") for state in State if seen.states[state]]
        print_table(["state", "jobs"], counts, numbers=["jobs"], to_error=True)
    if yes or not seen.count:
        return True
    if as_json or str(asked.ids) == "-" or not sys.stdin.isatty():
        raise InvalidInputError(
            f"{count_of(seen.count, 'job')} would be {done}, and nothing was done",
            field="yes",
            hint=f"Give --yes to {verb} them.",
            states={state: seen.states[state] for state in State if seen.states[state]},
        )
    if typer.confirm(f"{verb.capitalize()} {count_of(seen.count, 'job')}?", default=False, err=True):
        return True
    note("Nothing was done.")
    return False


def _for_people(done: Sequence[Repeated]) -> None:
    if done:
        typer.echo("\n".join(str(one.job_id) for one in done))
    sys.stdout.flush()


def _for_programs() -> Callable[[Sequence[Repeated]], None]:
    """Writes the jobs as they come. The output is one valid document only when its end is written."""
    typer.echo('{"jobs": [', nl=False)
    first = True

    def told(done: Sequence[Repeated]) -> None:
        nonlocal first
        for one in done:
            fields: Mapping[str, Any] = {"id": one.job_id, "repeats": one.repeats, "created": one.created}
            typer.echo(("\n" if first else ",\n") + to_json(fields), nl=False)
            first = False
        sys.stdout.flush()

    return told


_SPOKEN: Final = {
    "cancelled": "cancelled",
    "cancelling": "running, cancelled at their worker's next step",
    "ended_before": "had ended meanwhile",
    "asked_again": "retried",
    "already": "were retried before",
    "not_possible": "cannot be retried any more",
}


def _tell_change(counts: Mapping[str, int], seen: Preview, done: BulkChange) -> None:
    told = [f"{n:,} {_SPOKEN[one]}" for one, n in counts.items() if n] or ["no job fits"]
    note(f"{', '.join(told)}.")
    if seen.left_out:
        note(f"Left alone, in another state or not of these filters: {count_of(seen.left_out, 'job')} of the file.")
    if seen.unknown:
        note(f"Ids of the file that belong to no job: {seen.unknown:,}.")
    if done.interrupted or done.error is not None:
        note(f"Stopped after {done.dealt:,} of {count_of(seen.count, 'job')}. The same command again does the rest.")


def _tell_results(done: Exported, output: Path | None) -> None:
    states = ", ".join(f"{state} {done.states[state]:,}" for state in State if done.states[state])
    stopped = done.interrupted or done.error is not None
    if stopped and output is not None:
        note(f"Stopped after {done.count:,} results; {output} is as it was before.")
    elif stopped:
        last = "" if done.last is None else f" The last one is {done.last}: --after {done.last} goes on from there."
        note(f"Stopped after {done.count:,} results.{last}")
    else:
        of_states, where = f" ({states})" if states else "", "" if output is None else f" in {output}"
        note(f"{count_of(done.count, 'result')}{of_states}{where}.")
    if done.not_ended:
        note(f"Not ended yet: {count_of(done.not_ended, 'job')}.")
    if done.unknown:
        named = ", ".join(map(str, done.unknown_ids)) + (" …" if done.unknown > len(done.unknown_ids) else "")
        note(f"Ids of the file that belong to no job: {done.unknown:,} ({named})")


def _rest(seen: Preview, done: BulkChange) -> dict[str, Any]:
    rest: dict[str, Any] = {"left_out": seen.left_out, "unknown": seen.unknown, "interrupted": done.interrupted}
    return rest if done.error is None else rest | {"error": done.error.as_dict()}


def _code(done: BulkChange | Exported, unknown: int) -> int:
    if done.error is not None:
        return failure.report(done.error, as_json=False)  # the document has it already
    return INTERRUPTED if done.interrupted else SOME_UNKNOWN if unknown else DONE
