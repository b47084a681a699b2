"""The table of commands, each of which is loaded when it is needed, and the run of one.

To add a command, write ``console/commands/<name>.py`` with a function (or a ``typer.Typer`` of several) and add its
line here.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from console.terminal.interrupt import CUT_OFF, INTERRUPTED, forget_output, quiet_interrupt
from errors import HeadraceError, InvalidInputError

_COMPLETES = "_HEADRACE_COMPLETE"  # set by a shell that asks how to complete a command line
_TAKE_FILES = ("--file", "--ids", "--output", "--dir", "--csv", "--parquet", "--port-file")


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and its line in the list of all commands."""

    module: str
    attribute: str
    about: str


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "console.commands.demo",
        "demo",
        "Run the whole product once on the shipped example input and print the owner's report.",
    ),
    "services": Command("console.commands.services", "app", "Start, stop and inspect the private services."),
    "migrate": Command("console.commands.migrate", "migrate", "Migrate the database to this release."),
    "worker": Command("console.commands.worker", "worker", "Run worker processes until told to stop."),
    "scheduler": Command(
        "console.commands.scheduler", "scheduler", "Run the background chores: due jobs, lost workers, expiry, sweeps."
    ),
    "tenants": Command("console.commands.tenants", "app", "Add and list tenants, set their weights."),
    "producers": Command("console.commands.producers", "app", "Bind database logins that enqueue by SQL to tenants."),
    "limits": Command("console.commands.limits", "app", "Show and change what tenants, users and features may use."),
    "jobs": Command("console.commands.jobs", "app", "Enqueue, list, explain, export, cancel and retry jobs."),
    "pause": Command(
        "console.commands.pause", "pause", "Pause a tenant, feature or lane; without one, list what is paused."
    ),
    "resume": Command("console.commands.resume", "resume", "Resume a paused tenant, feature or lane."),
    "spend": Command("console.commands.spend", "app", "Report spend: calls, tokens and cost by UTC day."),
    "prices": Command("console.commands.prices", "app", "List prices, keep them current, reprice past calls."),
    "billing": Command(
        "console.commands.billing", "app", "Set tenants' prices, report revenue and margin, send usage to Stripe."
    ),
    "metrics": Command("console.commands.metrics", "metrics", "Print or serve the platform's metrics for Prometheus."),
    "doctor": Command("console.commands.doctor", "doctor", "Check every service and say how to fix what is wrong."),
    "simulate": Command(
        "console.commands.simulate",
        "simulate",
        "Run a simulator of OpenAI and Anthropic on this machine, until interrupted.",
    ),
    "completion": Command(
        "console.commands.completion",
        "completion",
        'Print the completion script of a shell: eval "$(headrace completion bash)".',
    ),
    "version": Command("console.commands.version", "version", "Print the version."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and loads only the command that runs."""

    def __init__(self, **settings: Any) -> None:
        settings["commands"] = {name: TyperCommand(name, help=one.about) for name, one in COMMANDS.items()}
        super().__init__(**settings)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, its name, and the arguments that are left."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        with quiet_interrupt():
            return name, stand_in and load(name or ""), rest


def load(name: str) -> Any:
    """The command of this name, ready to run."""
    entry = COMMANDS[name]
    found = getattr(importlib.import_module(entry.module), entry.attribute)
    if not isinstance(found, typer.Typer):
        one = typer.Typer(add_completion=False)
        one.command(name)(found)
        return typer.main.get_command(one)
    group = typer.main.get_group(found)
    group.name = name
    return group


app = typer.Typer(
    name="headrace",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,  # `headrace completion` prints the script and changes none of the user's files
    context_settings={"help_option_names": ["-h", "--help"]},  # for every command below it too
)


def _tell_version(asked: bool) -> None:
    if asked:
        from console.commands.version import version

        version()
        raise typer.Exit


@app.callback()
def headrace(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A job platform for AI work of many tenants: fair shares, hard spend caps, exact accounting."""


def run() -> int:
    """Run the command line; the exit code (docs/reference/cli.md lists them)."""
    _write_any_text()
    if _COMPLETES in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        refuse_odd_bytes(sys.argv[1:])
        outcome = typer.main.get_command(app).main(prog_name="headrace", standalone_mode=False)
    except (HeadraceError, typer.TyperException, ValueError) as error:
        return _told(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does: the text that is still in the buffer has nowhere to go at
        # exit.
        forget_output()
        return CUT_OFF
    return outcome if isinstance(outcome, int) else 0


def refuse_odd_bytes(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not text. The names of files may be any bytes.

    :raises InvalidInputError: an argument is not in the system's encoding, which is nearly always UTF-8.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in _TAKE_FILES or argument.partition("=")[0] in _TAKE_FILES:
            continue
        if any("\ud800" <= letter <= "\udfff" for letter in argument):  # how Python holds bytes that it cannot read
            raise InvalidInputError("is not UTF-8", field="argument", value=argument)


def _write_any_text() -> None:
    """Make printing safe on an ASCII terminal, and for names with half a surrogate pair. Characters that cannot be
    written are replaced and never cause a failure.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _told(error: HeadraceError | typer.TyperException | ValueError) -> int:
    from console.terminal import failure  # loaded only when a command failed, so that `headrace --help` is quick

    as_json = "--json" in sys.argv
    if isinstance(error, typer.TyperException):
        return failure.report_usage(error, as_json=as_json)
    known = failure.of_value(error) if isinstance(error, ValueError) else error
    if known is None:
        raise error
    return failure.report(known, as_json=as_json)
