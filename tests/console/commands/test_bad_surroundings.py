"""Every command with no services, half of them, wrong ones: a typed error and an exit code, never a traceback."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from console.command_line import COMMANDS, load
from producers import client as producers_client
from tests.console.commands.conftest import Ran

JOB = str(uuid4())
# What each command needs to get as far as its services; {file} is a file of jobs, {port} a port that is taken.
ARGUMENTS = {
    "demo": "",
    "services start": "--dir {directory}",
    "services stop": "--dir {directory}",
    "services status": "--dir {directory}",
    "services env": "--dir {directory}",
    "migrate": "",
    "worker": "",
    "scheduler": "",
    "tenants add": "Acme",
    "tenants list": "",
    "tenants set-weight": "Acme 2",
    "producers bind": "somebody --tenant Acme",
    "producers unbind": "somebody --tenant Acme",
    "producers list": "",
    "limits show": "Acme",
    "limits set": "Acme --daily-usd 5",
    "limits set-model": "openai:gpt-6-luna --concurrent 5",
    "limits models": "",
    "limits plans": "",
    "limits set-plan": "pro --daily-usd 5",
    "jobs enqueue": "--tenant {job} --file {file}",
    "jobs list": "",
    "jobs show": "{job}",
    "jobs why": "{job}",
    "jobs cancel": "{job}",
    "jobs retry": "{job}",
    "jobs results": "--all",
    "pause": "--tenant Acme",
    "resume": "--tenant Acme",
    "spend": "",
    "spend forecast": "",
    "spend estimates": "",
    "spend unusual": "",
    "prices list": "",
    "prices sync": "",
    "prices diff": "--database",
    "prices add": "openai m --input 1 --output 1",
    "prices reprice": "--since 2026-01-01 --dry-run",
    "billing price": "Acme",
    "billing customer": "Acme cus_1",
    "billing margin": "",
    "billing close": "",
    "billing send": "",
    "billing status": "",
    "billing resolve": "Acme 2026-01-31 sent",
    "metrics": "",
    "doctor": "",
    "simulate": "--port {port}",
    "completion": "bash",
    "version": "",
}
NEED_NOTHING = {"completion", "version"}
SAYS_NO = {"doctor"}  # it tells what is wrong as its answer

ERROR = re.compile(r"error: .+ \[[a-z_]+\]")


def test_every_command_is_looked_at() -> None:
    found = set()
    for name in COMMANDS:
        command = load(name)
        inner = getattr(command, "commands", {})
        found |= {f"{name} {one}" for one in inner}
        if not inner or getattr(command, "invoke_without_command", False):
            found.add(name)

    assert found == ARGUMENTS.keys()


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a server that is neither Postgres nor Redis: it answers whatever comes in HTTP, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture
def surroundings(environment: dict[str, str], stranger: int, tmp_path: Path) -> dict[str, dict[str, str | None]]:
    """What is wrong with the services, by name."""
    unset = dict.fromkeys([name for name in environment if name not in ("PATH", "HOME")])
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    no_place = tmp_path / "a file"
    no_place.write_text("")
    postgres = {f"HEADRACE_{one}DATABASE_URL": f"postgresql://u@127.0.0.1:{nobody}/d" for one in ("", "OPS_", "OWNER_")}
    wrong = dict.fromkeys(postgres, f"postgresql://u@127.0.0.1:{stranger}/d?sslmode=disable")
    keys = {"OPENAI_API_KEY": "sk-1"}
    return {
        "nothing is set, and nothing private can be": {**unset, "HEADRACE_DIR": str(no_place)},
        "half is set": {**unset, "HEADRACE_DATABASE_URL": postgres["HEADRACE_DATABASE_URL"]},
        "nothing answers": {**unset, **keys, **postgres, "HEADRACE_REDIS_URL": f"redis://127.0.0.1:{nobody}/0"},
        "Redis alone does not answer": {"HEADRACE_REDIS_URL": f"redis://127.0.0.1:{nobody}/0"},
        "another server answers": {**unset, **keys, **wrong, "HEADRACE_REDIS_URL": f"redis://127.0.0.1:{stranger}/0"},
        "what is set are not URLs": {**unset, **keys, **dict.fromkeys([*postgres, "HEADRACE_REDIS_URL"], "x y")},
    }  # fmt: skip


def test_every_command_says_what_is_wrong_with_its_services(
    surroundings: dict[str, dict[str, str | None]],
    in_process: Callable[..., Ran],
    stranger: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    monkeypatch.setattr(producers_client, "_WITHIN_S", 0.05)  # an outage is waited for: not here
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"user_id": "ada", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}\n')
    filled = {"file": file, "port": stranger, "job": JOB, "directory": tmp_path / "a file"}
    for what, env in surroundings.items():
        for command, given in ARGUMENTS.items():
            arguments = [*command.split(), *(one.format(**filled) for one in given.split())]
            with subtests.test(what=what, command=command):
                done = in_process(*arguments, env=env)  # what it raises is not caught

                assert done.code in (0, 1, 2)
                assert "Traceback" not in done.err
                if done.code == 2:
                    assert ERROR.fullmatch(done.err.splitlines()[-1])
                if command in NEED_NOTHING:
                    assert done.code == 0
                elif what != "Redis alone does not answer" and not command.startswith("services"):
                    assert done.code == 2 or (done.code == 1 and command in SAYS_NO), done.out + done.err
                if done.code == 0:
                    assert done.out or done.err


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_port_that_cannot_be_is_refused(in_process: Callable[..., Ran], port: str) -> None:
    for command in (["simulate", "--port", port], ["metrics", "--serve", port]):
        done = in_process(*command)

        assert done.code == 2
        assert ERROR.fullmatch(done.err.strip())
