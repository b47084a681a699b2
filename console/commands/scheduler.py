"""``headrace scheduler``: what time and accidents ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from console.output import LogJson
from console.reach import DATABASE_AND_WIRE, reach
from console.readiness import check_ready
from settings import Settings
from workers.scheduler_boot import run


def scheduler(
    parent: Annotated[int, typer.Option(hidden=True, help="End when this process is gone.")] = 0,
    as_json: LogJson = False,
) -> None:
    """Do what time and accidents ask for, until told to stop.

    It releases what is due, takes back the jobs of lost workers, expires and sweeps, until SIGTERM or Ctrl-C. Any
    number of them may run.
    """
    settings = Settings()
    if as_json:
        settings = settings.model_copy(update={"log_format": "json"})
    with reach(settings, DATABASE_AND_WIRE) as services:
        check_ready(settings, services)
        run(settings, ops_url=services.require_ops(), wire_url=services.broker_url, parent=parent)
