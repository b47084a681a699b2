"""One run of an intake: the file, the services, a progress bar for a terminal, and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar
from uuid import UUID

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from console.composition import wire_from
from console.endpoints import Endpoints
from console.enqueue_file.intake import FileIntake, LineOutcome, Quoted
from console.enqueue_file.lines import FileLine, check_file, read_lines
from console.enqueue_file.report import End, Report
from console.terminal import failure
from console.terminal.interrupt import CUT_OFF, INTERRUPTED, Stop, forget_output
from console.terminal.output import screen
from errors import HeadraceError, InvalidInputError
from producers import Client
from producers.enqueue import open_quoter
from settings import Settings
from storage.catalogue import tenants
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.session import operator_session, translate_errors

Dealt = TypeVar("Dealt", bound=Sequence[LineOutcome] | Sequence[Quoted])


def enqueue(
    settings: Settings, services: Endpoints, stream: BinaryIO, *, tenant: str | None, report: Report[list[LineOutcome]]
) -> int | None:
    """Enqueue the lines of a stream; the exit code, if something stopped it half-way. The report says how far."""
    return _through(FileIntake.take, settings, services, stream, tenant=tenant, report=report)


def quote(
    settings: Settings, services: Endpoints, stream: BinaryIO, *, tenant: str | None, report: Report[list[Quoted]]
) -> int | None:
    """Quote the lines of a stream; the exit code, if something stopped it half-way. Nothing is inserted."""
    return _through(FileIntake.quote, settings, services, stream, tenant=tenant, report=report)


def _through(
    deal: Callable[[FileIntake, Iterable[FileLine], Stop], Iterator[Dealt]],
    settings: Settings,
    services: Endpoints,
    stream: BinaryIO,
    *,
    tenant: str | None,
    report: Report[Dealt],
) -> int | None:
    line, has_begun = 0, False
    error: HeadraceError | None = None
    code: int | None = None
    try:
        with translate_errors(services.database_url), ExitStack() as stack:
            wire = wire_from(settings, services)
            database = Database(services.database_url)
            client = Client(database, wire, quoter=lambda: open_quoter(settings, database, services.redis_url))
            stack.callback(client.close)
            stop = stack.enter_context(Stop())
            intake = FileIntake(client, _finder(services, stack), tenant=tenant)
            has_begun = True
            for dealt in deal(intake, _with_progress(stream, stack), stop):
                line = dealt[-1].number
                report.add(dealt)
                sys.stdout.flush()  # so that a kill from here on does not hide which jobs are enqueued
    except HeadraceError as stopped_by:
        error = stopped_by
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = CUT_OFF
        forget_output()
    report.end(End(line, error, interrupted=code is not None, has_begun=has_begun))
    return code if error is None else failure.report(error, as_json=False)  # the report's document has it already


def only(files: Sequence[Path]) -> Path:
    """The one file that is named.

    :raises InvalidInputError: several files are named.
    """
    if len(files) > 1:
        raise InvalidInputError(
            f"was given {len(files)} times, and a run takes one file",
            field="file",
            hint="Put them together: cat FILES | headrace jobs enqueue --file -",
        )
    return files[0]


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The file's bytes (``-`` is standard input), after checking that they are text to the end.

    :raises InvalidInputError: it cannot be read, or is not UTF-8.
    """
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInputError(f"cannot be read: {reason}", field="file", value=str(file)) from error
    with stream:
        if stream.seekable():  # nothing of a file is enqueued that cannot be read to its end
            check_file(stream)
        yield stream


def _with_progress(stream: BinaryIO, stack: ExitStack) -> Iterator[FileLine]:
    """The stream's lines, with a bar on standard error if it is a terminal and the ids do not go to the same one."""
    lines = read_lines(stream)
    if not sys.stderr.isatty() or sys.stdout.isatty():
        return lines
    size = Path(stream.name).stat().st_size if stream.seekable() and stream is not sys.stdin.buffer else None
    bar = stack.enter_context(
        Progress(
            TextColumn("{task.fields[lines]} lines"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            console=screen(to_error=True), redirect_stdout=False,
        )
    )  # fmt: skip
    return _counted(lines, bar, bar.add_task("", total=size, lines=0))


def _counted(lines: Iterator[FileLine], bar: Progress, task: TaskID) -> Iterator[FileLine]:
    for line in lines:
        bar.update(task, advance=line.size, lines=line.number)
        yield line


def _finder(services: Endpoints, stack: ExitStack) -> Callable[[str], UUID]:
    """What finds a tenant; it connects as the operators' role only when it is needed."""
    connections: list[Connection] = []

    def find(given: str) -> UUID:
        if services.ops_database_url is None:
            try:
                return UUID(given)  # a name cannot be looked up then, but an id need not be
            except ValueError:
                pass
        if not connections:
            connections.append(stack.enter_context(operator_session(services.require_ops())))
        return tenants.resolve(connections[0], given).id

    return find
