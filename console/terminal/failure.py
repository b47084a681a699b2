"""How a failed command reports its error: one line on standard error, JSON on standard output for programs, exit code
2.
"""

from __future__ import annotations

import os
import traceback

import typer
from rich.text import Text

from console.terminal.output import make_printable, print_json, screen, width
from console.terminal.tables import hang
from errors import CommandUsageError, HeadraceError, InvalidInputError, joined
from wording import of_settings, without_foreign_words

REFUSED = 2
"""Exit code of a known error: configuration, services, input."""


def report(error: HeadraceError, *, as_json: bool) -> int:
    """Report an error; the exit code. The traceback is shown only at HEADRACE_LOG_LEVEL=debug."""
    if as_json:
        print_json({"error": error.as_dict()})
    _print(f"error: {make_printable(str(error))} [{error.code}]")
    if os.environ.get("HEADRACE_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(error)
    return REFUSED


def report_usage(error: typer.TyperException, *, as_json: bool) -> int:
    """Report a command line that cannot be parsed; the exit code."""
    message = without_foreign_words(" ".join(error.format_message().split()))
    if not message:  # no command was given, and the help has been shown
        return error.exit_code
    if as_json:
        print_json({"error": CommandUsageError(message).as_dict()})
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if context is not None else None
    _print(f"error: {make_printable(joined(message, hint))} [{CommandUsageError.code}]")
    return error.exit_code


def _print(text: str) -> None:
    fitting = hang(text, width(to_error=True), indent=2)
    screen(to_error=True).print(Text(fitting, style="red"), soft_wrap=True)


def of_value(error: ValueError) -> HeadraceError | None:
    """The typed error for a setting that cannot be read, or for text that is not UTF-8; None for any other error."""
    if isinstance(error, UnicodeEncodeError):  # bytes from the system: an argument or a variable
        return InvalidInputError("is not UTF-8", field="command line or environment", value=error.object)
    return of_settings(error)
