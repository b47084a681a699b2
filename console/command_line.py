"""The table of commands, each of which is loaded when it is asked for, and the run of one.

To add one, write ``console/commands/<name>.py`` with a function (or a ``typer.Typer`` of several) and give it a line.
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

_COMPLETES = "_HEADRACE_COMPLETE"  # set by a shell that asks how a command line may go on
_TAKE_FILES = ("--file", "--ids", "--output", "--dir", "--csv", "--parquet", "--port-file")


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and the line that tells of it in the list of all."""

    module: str
    attribute: str
    about: str


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        "console.commands.demo",
        "demo",
        "Run the main job on real input, start to end, and show what an owner wants to see.",
    ),
    "services": Command("console.commands.services", "app", "Start, stop and look at the private services."),
    "migrate": Command("console.commands.migrate", "migrate", "Bring the database up to this release."),
    "worker": Command("console.commands.worker", "worker", "Run jobs until told to stop."),
    "scheduler": Command("console.commands.scheduler", "scheduler", "Run the background chores until told to stop."),
    "tenants": Command("console.commands.tenants", "app", "Add and list tenants, set their weights."),
    "producers": Command("console.commands.producers", "app", "Bind logins that enqueue by SQL to tenants."),
    "limits": Command("console.commands.limits", "app", "Show and change what tenants, users and features may use."),
    "jobs": Command("console.commands.jobs", "app", "Enqueue jobs, list them, look at one, cancel it, ask it anew."),
    "pause": Command("console.commands.pause", "pause", "Hold a tenant, feature or lane back; list what is paused."),
    "resume": Command("console.commands.resume", "resume", "Let a paused tenant, feature or lane go on."),
    "spend": Command("console.commands.spend", "app", "Say what was spent: calls, tokens and cost of whole UTC days."),
    "prices": Command("console.commands.prices", "app", "Look at prices, keep them current, price history anew."),
    "billing": Command(
        "console.commands.billing", "app", "Say what tenants pay, see what that leaves, send closed days to Stripe."
    ),
    "metrics": Command("console.commands.metrics", "metrics", "Print or serve the platform's signals for Prometheus."),
    "doctor": Command("console.commands.doctor", "doctor", "Check every service and say what to do."),
    "simulate": Command(
        "console.commands.simulate", "simulate", "Stand in for OpenAI and Anthropic on this machine, until interrupted."
    ),
    "completion": Command(
        "console.commands.completion",
        "completion",
        'Print a script that makes a shell complete commands: eval "$(headrace completion bash)".',
    ),
    "version": Command("console.commands.version", "version", "Say which release this is."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and loads none but the one that runs."""

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
    add_completion=False,  # `headrace completion` prints the script, and writes into no file of the user's
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command below it too
)


def _tell_version(asked: bool) -> None:
    if asked:
        from console.commands.version import version

        version()
        raise typer.Exit


@app.callback()
def headrace(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which release this is.")
    ] = False,
) -> None:
    """AI jobs of many tenants: fair shares, hard caps, an exact account of every cent."""


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
        # the reader went away, as `head` does: what is still in the buffer has nowhere to go at exit
        forget_output()
        return CUT_OFF
    return outcome if isinstance(outcome, int) else 0


def refuse_odd_bytes(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not text. The names of files may be any bytes.

    :raises InvalidInputError: one of them is not in the system's encoding, which is UTF-8 nearly everywhere.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in _TAKE_FILES or argument.partition("=")[0] in _TAKE_FILES:
            continue
        if any("\ud800" <= letter <= "\udfff" for letter in argument):  # how Python holds bytes that it cannot read
            raise InvalidInputError("is not UTF-8", field="argument", value=argument)


def _write_any_text() -> None:
    """An ASCII terminal, or half a surrogate pair in a name: what cannot be written is replaced, never a failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _told(error: HeadraceError | typer.TyperException | ValueError) -> int:
    from console.terminal import failure  # only when something failed, so that `headrace --help` is quick

    as_json = "--json" in sys.argv
    if isinstance(error, typer.TyperException):
        return failure.report_usage(error, as_json=as_json)
    known = failure.of_value(error) if isinstance(error, ValueError) else error
    if known is None:
        raise error
    return failure.report(known, as_json=as_json)
