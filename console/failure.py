"""How a command that failed says so: one line on standard error, JSON on standard output for programs, exit code 2."""

from __future__ import annotations

import os
import re
import traceback

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.text import Text

from console.output import print_json, printable, screen
from errors import ConfigurationError, HeadraceError
from settings import Settings

REFUSED = 2
"""Exit code of an error that has a name: configuration, services, input."""


def report(error: HeadraceError, *, as_json: bool) -> int:
    """Tell of an error; the exit code. The traceback is shown only at HEADRACE_LOG_LEVEL=debug."""
    if as_json:
        print_json({"error": error.as_dict()})
    screen(to_error=True).print(Text(f"error: {printable(str(error))} [{error.code}]", style="red"), soft_wrap=True)
    if os.environ.get("HEADRACE_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(error)
    return REFUSED


def report_usage(error: typer.TyperException, *, as_json: bool) -> int:
    """Tell of a command line that cannot be understood; the exit code."""
    message = error.format_message()
    if not message:  # no command was given, and the help has been shown
        return error.exit_code
    if as_json:
        print_json({"error": {"code": "usage", "message": message}})
    context = getattr(error, "ctx", None)
    hint = f" See `{context.command_path} --help`." if context is not None else ""
    screen(to_error=True).print(Text(f"error: {printable(message)}{hint} [usage]", style="red"), soft_wrap=True)
    return error.exit_code


def of_setting(error: ValueError) -> ConfigurationError | None:
    """The typed error for a setting that cannot be read, or None when the error is of something else."""
    if isinstance(error, SettingsError):  # a setting that is a JSON object, and the text is none
        name = re.search(r'field "(\w+)"', str(error))
        return ConfigurationError("is no JSON", field=_variable(name[1] if name else "lane_weights"))
    if not isinstance(error, ValidationError) or error.title != Settings.__name__:
        return None
    first = error.errors(include_url=False, include_context=False)[0]
    name_of_it = str(first["loc"][0])
    return ConfigurationError(
        first["msg"].removeprefix("Value error, "),
        field=_variable(name_of_it),
        value=None if name_of_it.lower().endswith(("_key", "_url")) else first["input"],
    )


def _variable(setting: str) -> str:
    return setting if setting.isupper() else f"HEADRACE_{setting.upper()}"
