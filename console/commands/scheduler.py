"""``headrace scheduler``: the background chores, in a process that is kept up."""

from __future__ import annotations

from typing import Annotated

import typer

from console.connect import DATABASE_AND_WIRE, child_environment, connect
from console.doctor.readiness import check_ready
from console.endpoints import Endpoints
from console.processes.supervisor import Processes, python
from console.terminal.output import LogJson
from settings import Settings

_PATIENCE_S = 15.0  # its chores take a second each at most; a chore that waits for Stripe takes a few more


def scheduler(
    parent: Annotated[int, typer.Option(hidden=True, help="End when this process is gone.")] = 0,
    as_json: LogJson = False,
) -> None:
    """Run the background chores: due jobs, lost workers, expiry, sweeps.

    It runs until SIGTERM or Ctrl-C. A process that dies is started again. Any number of schedulers may run.
    """
    settings = Settings()
    if as_json:
        settings = settings.model_copy(update={"log_format": "json"})
    with connect(settings, DATABASE_AND_WIRE) as services:
        raise typer.Exit(run(settings, services, parent=parent))


def run(settings: Settings, services: Endpoints, *, parent: int = 0) -> int:
    """Keep one scheduler process up until told to stop; the exit code."""
    check_ready(settings, services)
    services.require_ops()
    environment = child_environment(services) | {"HEADRACE_LOG_FORMAT": settings.log_format}
    with Processes(environment, patience_s=_PATIENCE_S) as children:
        children.start("scheduler", python("console.processes.scheduler"))
        return children.serve(parent=parent)
