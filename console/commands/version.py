"""``headrace version``."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import typer

from console.terminal.output import Json, print_json


def version(as_json: Json = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"headrace": installed("headrace"), "python": platform.python_version()})
    else:
        typer.echo(f"headrace {installed('headrace')}")
