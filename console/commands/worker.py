"""``headrace worker``: worker processes, kept up and drained together."""

from __future__ import annotations

from typing import Annotated

import typer

from console.connect import child_environment, connect
from console.doctor.readiness import check_ready
from console.endpoints import Endpoints
from console.processes.supervisor import Processes, python
from console.terminal.output import LogJson
from settings import Settings

_BEYOND_DRAIN_S = 15.0  # a worker releases its unfinished jobs when its drain is over, and then needs a moment to exit


def worker(
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=1000, help="Jobs at once in each process.")] = 16,
    parent: Annotated[int, typer.Option(hidden=True, help="Drain when this process is gone.")] = 0,
    as_json: LogJson = False,
) -> None:
    """Run worker processes until told to stop.

    SIGTERM and Ctrl-C drain: running calls may end, other jobs are released for another worker. A second signal kills.
    A process that dies is started again.
    """
    settings = Settings()
    if as_json:
        settings = settings.model_copy(update={"log_format": "json"})
    with connect(settings) as services:
        raise typer.Exit(run(settings, services, processes=processes, threads=threads, parent=parent))


def run(settings: Settings, services: Endpoints, *, processes: int, threads: int, parent: int = 0) -> int:
    """Keep that number of worker processes up until told to stop; the exit code."""
    check_ready(settings, services)
    environment = child_environment(services) | {"HEADRACE_LOG_FORMAT": settings.log_format}
    with Processes(environment, patience_s=settings.drain_s + _BEYOND_DRAIN_S) as children:
        for number in range(1, processes + 1):
            children.start(f"worker-{number}", python("console.processes.worker", "--threads", str(threads)))
        return children.serve(parent=parent)
