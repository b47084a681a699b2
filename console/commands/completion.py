"""``headrace completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from console.terminal.output import Json, print_json


class Shell(StrEnum):
    """A shell that has a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that you use.")],
    as_json: Json = False,
) -> None:
    """Print the completion script of a shell: eval "$(headrace completion bash)"."""
    script = get_completion_script(prog_name="headrace", complete_var="_HEADRACE_COMPLETE", shell=shell.value)
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        typer.echo(script)
