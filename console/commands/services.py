"""``headrace services``: start, stop and inspect the private services of a directory."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from console.endpoints import ServiceStatus, running_environment, start, status, stop
from console.terminal.output import Json, note, print_json, print_table, say
from embedded import paths
from errors import ServiceError
from settings import Settings

app = typer.Typer(help="Start, stop and inspect the private services.", no_args_is_help=True)

Dir = Annotated[
    Path | None, typer.Option("--dir", help="The services' directory; default: HEADRACE_DIR, or .headrace.")
]


@app.command("start")
def start_command(directory: Dir = None, as_json: Json = False) -> None:
    """Start the services for which no URL is set, and leave them up."""
    settings = Settings()
    where = directory or settings.dir
    told = paths.described(where)
    started = start(where, settings=settings).embedded
    if not started and not as_json:
        typer.echo("Every service has a URL or a key set: nothing to start.")
        return
    if not as_json:
        note(f"private services in {told}")
    _show(status(where), as_json=as_json)


@app.command("stop")
def stop_command(directory: Dir = None, as_json: Json = False) -> None:
    """Stop the services, even if other processes use them. Their data stays."""
    was_up = stop(directory or Settings().dir)
    if as_json:
        print_json({"stopped": was_up})
    else:
        typer.echo("Stopped." if was_up else "Nothing was running.")


@app.command("status")
def status_command(directory: Dir = None, as_json: Json = False) -> None:
    """Show the state of each service. Exits 1 unless at least one runs and none has failed."""
    where = directory or Settings().dir
    found = status(where)
    if not as_json:
        note(f"private services in {paths.described(where)}")
    _show(found, as_json=as_json)
    conditions = {entry.condition for entry in found} - {"stopped"}
    raise typer.Exit(0 if conditions == {"running"} else 1)


@app.command("env")
def env_command(directory: Dir = None, as_json: Json = False) -> None:
    """Print the environment variables for the running services: eval "$(headrace services env)"."""
    where = directory or Settings().dir
    variables = running_environment(where)
    if not variables:
        raise ServiceError(
            "there is no running private service here",
            value=str(paths.paths_of(where)),
            hint="Run `headrace services start` first.",
        )
    if as_json:
        print_json(variables)
    else:
        typer.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))


def _show(found: list[ServiceStatus], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    print_table(
        ("service", "condition", "pid", "restarts", "address"),
        ((entry.name, entry.condition, entry.pid, entry.restarts, entry.address) for entry in found),
        numbers=("pid", "restarts"),
    )
    for entry in found:
        if entry.detail:
            say(f"{entry.name}: {entry.detail}")
