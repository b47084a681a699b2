"""Results as a file: one line for each job, as the input had one line for each job."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from console.bulk import lines
from console.bulk.choice import WITHIN_S, Choice
from console.bulk.lines import FileFormat
from console.terminal.interrupt import Stop
from console.terminal.output import make_printable
from errors import HeadraceError, InvalidInputError
from storage.db.database import Database
from storage.jobs import results
from storage.jobs.jobs import State
from storage.jobs.selection import SelectedJob

_PAGE: Final = 1000  # jobs; a page of large answers has fewer
_MOST_NAMED: Final = 20


@dataclass(slots=True)
class Exported:
    """How far an export came. ``last``: the last job that is written."""

    states: Counter[State] = field(default_factory=Counter)
    not_ended: int = 0
    unknown: int = 0
    unknown_ids: list[UUID] = field(default_factory=list)
    last: UUID | None = None
    interrupted: bool = False
    cut_off: bool = False  # the reader of the output has gone
    error: HeadraceError | None = None  # the error or signal that stopped the export

    @property
    def is_whole(self) -> bool:
        """Whether the export is complete."""
        return not self.interrupted and not self.cut_off and self.error is None

    @property
    def count(self) -> int:
        """The number of results that are written."""
        return self.states.total()

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        error = {} if self.error is None else {"error": self.error.as_dict()}
        return error | {
            "results": self.count,
            "states": {state: self.states[state] for state in State if self.states[state]},
            "not_ended": self.not_ended,
            "unknown": self.unknown,
            "unknown_ids": self.unknown_ids,
            "last": self.last,
            "interrupted": self.interrupted,
        }


def export(
    database: Database, choice: Choice, to: BinaryIO, form: FileFormat, *, after: UUID | None = None
) -> Exported:
    """Write the results of the chosen jobs, page by page, and say how far it came.

    Jobs that have not ended are counted and left out, unless the choice names their state.
    """
    done = Exported()
    shown = make_printable if to.isatty() else str
    try:
        with Stop() as stop:
            to.write(lines.head(form).encode())
            for portion in choice.portions(database, after=after):
                done.unknown += len(portion.unknown)
                done.unknown_ids += portion.unknown[: _MOST_NAMED - len(done.unknown_ids)]
                found = _ended(portion.found, done) if not choice.selection.states else portion.found
                for page in _pages(database, found):
                    text = shown(lines.written(form, page))
                    with stop.step():
                        to.write(text.encode())
                        to.flush()
                        done.states.update(State(row["state"]) for row in page)
                        done.last = UUID(page[-1]["job_id"])
    except KeyboardInterrupt:
        done.interrupted = True
    except BrokenPipeError:
        done.cut_off = True
    except HeadraceError as error:
        done.error = error
    return done


@contextmanager
def sink(output: Path | None, done: list[Exported]) -> Iterator[BinaryIO]:
    """Where results go: standard output, or a file that appears whole or not at all.

    The file takes its name when the block ends without an error and ``done`` holds a complete export. It has the mode
    of the file that it replaces. A new file is readable by the operator alone (0600), because it holds answers of all
    tenants.

    :raises InvalidInputError: it cannot be written.
    """
    if output is None or str(output) == "-":
        yield sys.stdout.buffer
        return
    try:
        if output.exists() and not output.is_file():  # a pipe, a device, a folder
            with output.open("wb") as stream:
                yield stream
            return
        target = output.resolve()
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        try:
            with _made_like(target, part) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if done and done[-1].is_whole:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(f"cannot be written: {reason}", field="output", value=str(output)) from error


def _made_like(target: Path, part: Path) -> BinaryIO:
    """A new file that no more people may read than may read the target; the operator's alone if there is no target."""
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    stream = os.fdopen(descriptor, "wb")
    with suppress(FileNotFoundError):
        there = target.stat()
        mode = stat.S_IMODE(there.st_mode) & 0o777
        with suppress(PermissionError):  # only root may give a file away
            os.fchown(descriptor, there.st_uid, -1)
        try:
            os.fchown(descriptor, -1, there.st_gid)
        except PermissionError:
            mode &= ~0o070  # the group would be a different one
        os.fchmod(descriptor, mode)
    return stream


def _ended(found: Sequence[SelectedJob], done: Exported) -> Sequence[SelectedJob]:
    ended = [one for one in found if one.state.ended]
    done.not_ended += len(found) - len(ended)
    return ended


def _pages(database: Database, found: Sequence[SelectedJob]) -> Iterator[list[dict[str, Any]]]:
    """The results of these jobs, in pages of a bounded size."""
    while found:
        wanted = found[:_PAGE]
        page = database.retry_until_answered(
            lambda connection, wanted=wanted: results.page(connection, wanted),  # type: ignore[misc]
            within_s=WITHIN_S,
        )
        if page:
            yield page
        # A page ends early where answers are large. A job that retention removed meanwhile has no row.
        last = page[-1]["job_id"] if page else None
        found = found[next((n for n, one in enumerate(wanted, 1) if str(one.id) == last), len(wanted)) :]
