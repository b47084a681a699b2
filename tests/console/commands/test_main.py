"""The command as a whole: its table, its errors, its exit codes."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from console.command_line import COMMANDS, load
from console.commands import services
from tests.console.commands.conftest import BINARY, Headrace, Ran


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_says_what_the_list_says(name: str) -> None:
    command = load(name)

    assert command.name == name
    assert inspect.cleandoc(command.help or "").splitlines()[0] == COMMANDS[name].about


def test_help_loads_no_command(tmp_path: Path) -> None:
    heavy = ("psycopg", "pydantic", "dramatiq", "openai", "anthropic", "structlog", "console.commands")
    program = (
        "import sys; sys.argv = ['headrace', '--help']; from console.main import main; code = main();"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)

    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_a_word_that_is_no_command_is_told_of_on_one_line(headrace: Headrace) -> None:
    done = headrace("tenant")

    assert (done.code, done.out) == (2, "")
    assert done.err == "error: No such command 'tenant'. Did you mean 'tenants'? See `headrace --help`. [usage]\n"


def test_programs_get_errors_as_json(headrace: Headrace) -> None:
    usage = headrace("version", "--nope", "--json")
    typed = headrace("jobs", "show", "x", "--json")

    assert (usage.code, usage.json["error"]["code"]) == (2, "usage")
    assert typed.code == 2
    assert typed.json == {
        "error": {"code": "invalid_input", "message": "is not a job's id", "field": "id", "value": "'x'"}
    }
    assert typed.err == "error: id: is not a job's id (got 'x') [invalid_input]\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADRACE_MAX_ATTEMPTS", "0"),
        ("HEADRACE_LANE_WEIGHTS", "much"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(headrace: Headrace, variable: str, value: str) -> None:
    done = headrace("tenants", "list", "--json", env={variable: value})

    assert done.code == 2
    assert (done.json["error"]["code"], done.json["error"]["field"]) == ("configuration", variable)
    assert "Traceback" not in done.err


def test_a_traceback_is_shown_to_those_who_ask_for_it(headrace: Headrace) -> None:
    done = headrace("jobs", "show", "x", env={"HEADRACE_LOG_LEVEL": "debug"})

    assert done.code == 2
    assert "Traceback" in done.err
    assert "InvalidInputError" in done.err


def test_version(headrace: Headrace) -> None:
    said, document = headrace("version"), headrace("version", "--json").json

    assert said.out == f"headrace {document['headrace']}\n"


def test_ctrl_c_ends_with_130(environment: dict[str, str], tmp_path: Path) -> None:
    waiting = subprocess.Popen(
        [BINARY, "jobs", "enqueue", "--file", "-"],
        env=environment | {"HEADRACE_LOG_LEVEL": "error"},
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert waiting.stdin is not None
    with waiting:
        # a pipe's buffer is full only without a reader: once this is through, the command is at its work
        waiting.stdin.write(b"\n" * 2**20)
        waiting.stdin.flush()
        os.kill(waiting.pid, signal.SIGINT)
        waiting.stdin.close()

        assert waiting.wait(30) == 130


@pytest.mark.parametrize("module", ["console.terminal.interrupt", "typer", "psycopg", "console.commands.jobs"])
def test_ctrl_c_while_it_still_imports_ends_it_without_a_word(
    module: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """The import of the module is where the signal comes."""
    program = f"""if True:
        import os, signal, sys

        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.meta_path.insert(0, Finder)
        sys.argv = ["headrace", "jobs", "list"]
        from console.main import main

        sys.exit(main())
    """

    done = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_commands_that_others_write_are_mounted(headrace: Headrace) -> None:
    assert isinstance(services.app, typer.Typer)
    assert "--port-file" in headrace("simulate", "--help").out
    assert "status" in headrace("services", "--help").out


def test_every_command_knows_h_and_the_whole_says_its_version(in_process: Callable[..., Ran]) -> None:
    assert in_process("--version").out == in_process("version").out
    for line in (["-h"], ["jobs", "-h"], ["jobs", "show", "-h"], ["doctor", "-h"], ["spend", "forecast", "-h"]):
        done = in_process(*line)
        assert done.code == 0
        assert f"Usage: headrace {' '.join(line[:-1])}".rstrip() in done.out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("headrace jo", ["jobs"]),
        ("headrace jobs ca", ["cancel"]),
        ("headrace jobs show --js", ["--json"]),
        ("headrace completion f", ["fish"]),
    ],
)
def test_a_shell_is_told_how_a_line_may_go_on(headrace: Headrace, line: str, offered: list[str]) -> None:
    asked = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}

    assert headrace(env=asked).out.split() == offered


def test_the_scripts_of_three_shells_are_printed(in_process: Callable[..., Ran]) -> None:
    for shell, words in (("bash", "complete -o default"), ("zsh", "#compdef headrace"), ("fish", "complete --command")):
        done = in_process("completion", shell)
        assert done.code == 0
        assert words in done.out and "_HEADRACE_COMPLETE" in done.out
    unknown = in_process("completion", "tcsh")
    assert unknown.code == 2
    assert unknown.err.count("\n") == 1, "on one line"


def test_bash_takes_its_script(headrace: Headrace, tmp_path: Path) -> None:
    script = headrace("completion", "bash").out
    asks = f'{script}\nCOMP_WORDS=(headrace job); COMP_CWORD=1; _headrace_completion {BINARY}; echo "${{COMPREPLY[@]}}"'

    done = subprocess.run(["bash", "-c", asks], capture_output=True, text=True, cwd=tmp_path, check=True)

    assert done.stdout.split() == ["jobs"]
