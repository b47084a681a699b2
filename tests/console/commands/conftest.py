"""The real ``headrace``, run as people run it: a process, an environment, two streams, an exit code."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Urls
from tests.support.preloaded import preloaded

BINARY = Path(sys.executable).with_name("headrace")
OPENAI_KEY, ANTHROPIC_KEY = "sk-openai-nobody-may-see", "sk-anthropic-nobody-may-see"


@dataclass(frozen=True)
class Ran:
    """What one command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Headrace = Callable[..., Ran]


class Terminal(io.StringIO):
    """A terminal that takes UTF-8."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def environment(urls: Urls, tmp_path: Path) -> dict[str, str]:
    """All that is set on the machine: where this test's services are, and keys that lead nowhere."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HEADRACE_DIR": str(tmp_path / "never"),
        "HEADRACE_DATABASE_URL": urls.app,
        "HEADRACE_OPS_DATABASE_URL": urls.ops,
        "HEADRACE_OWNER_DATABASE_URL": urls.owner,
        "HEADRACE_REDIS_URL": urls.redis,
        "OPENAI_API_KEY": OPENAI_KEY,
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "HEADRACE_OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "HEADRACE_ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
    }


@pytest.fixture
def headrace(environment: dict[str, str], tmp_path: Path) -> Headrace:
    """Run a command in a directory that is not the project's; ``env`` changes the environment (None: unset).

    Where the environment changes the interpreter itself, the program is started as a shell would start it.
    """

    def run(*arguments: object, env: dict[str, str | None] | None = None, stdin: bytes = b"") -> Ran:
        variables = {name: value for name, value in (environment | (env or {})).items() if value is not None}
        words = [*map(str, arguments)]
        if any(name.startswith(("PYTHON", "LC_", "LANG")) for name in variables):
            done = subprocess.run(
                [BINARY, *words], env=variables, cwd=tmp_path, input=stdin, capture_output=True, timeout=60
            )
            return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
        code, out, err = preloaded().run(words, env=variables, cwd=tmp_path, stdin=stdin)
        return Ran(code, out.decode(), err.decode())

    return run


def pipe() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)


def read(stream: io.StringIO | io.TextIOWrapper) -> str:
    return stream.getvalue() if isinstance(stream, io.StringIO) else stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


@pytest.fixture
def in_process(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in this process, which takes a fiftieth of the time; ``columns``: at a terminal so wide.

    Nothing that a command raises is caught. Its logs stay as pytest has set them up.
    """
    from console import main as headrace

    def run(*arguments: object, columns: int | None = None, env: dict[str, str | None] | None = None) -> Ran:
        variables = {name: value for name, value in (environment | (env or {})).items() if value is not None}
        out, err = (Terminal(), Terminal()) if columns else (pipe(), pipe())
        with monkeypatch.context() as patched:
            for name in [*os.environ]:
                patched.delenv(name)
            for name, value in (variables | ({"COLUMNS": str(columns)} if columns else {})).items():
                patched.setenv(name, value)
            patched.chdir(tmp_path)
            for module in ("console.connect", "console.commands.migrate"):
                patched.setattr(f"{module}.configure_logs", lambda settings: None)
            patched.setattr(sys, "argv", ["headrace", *map(str, arguments)])
            patched.setattr(sys, "stdin", io.StringIO())
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", err)
            code = headrace.main()
        return Ran(code, read(out), read(err))

    return run
