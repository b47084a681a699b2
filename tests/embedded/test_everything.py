"""All three services with the real schema, as a command on a machine where nothing is set gets them."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import psycopg
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from console import endpoints as services
from console.commands.services import app
from console.endpoints import Endpoints, endpoints
from errors import ServiceError


@pytest.fixture
def started(lasting_home) -> Endpoints:
    return services.start(lasting_home.directory)


@pytest.fixture
def headrace(lasting_home, monkeypatch):
    """Run ``headrace services`` for the directory, in a shell where nothing is set."""
    for name in list(os.environ):
        if name.startswith(("HEADRACE_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)

    def run(command, *options, code=0):
        result = CliRunner().invoke(app, [command, "--dir", str(lasting_home.directory), *options])
        assert result.exit_code == code, (result.output, result.exception)
        return result.stdout

    return run


def journal(found: Endpoints) -> object:
    with urllib.request.urlopen(f"{found.simulator_url}/_sim/journal", timeout=10) as answer:
        return json.load(answer)


def test_the_application_and_the_operators_can_log_in(started):
    for url, role in ((started.database_url, "headrace_app"), (started.require_ops(), "headrace_ops")):
        with psycopg.connect(url) as connection:
            assert connection.execute("select current_user, count(*) from headrace.tenants").fetchone() == (role, 0)


def test_the_simulator_stands_in_for_both_providers(started, lasting_home):
    port = int(started.simulator_url.rpartition(":")[2])
    assert started.embedded == {"postgres", "redis", "simulator"}
    assert started.simulator_url == f"http://127.0.0.1:{port}"
    assert (started.openai_api_key, started.openai_base_url) == ("sim-openai", f"http://127.0.0.1:{port}/v1")
    assert (started.anthropic_api_key, started.anthropic_base_url) == ("sim-anthropic", f"http://127.0.0.1:{port}")
    assert journal(started) == []
    (listening,) = psutil.Process(lasting_home.pids()["simulator"]).net_connections(kind="inet")
    assert listening.laddr == ("127.0.0.1", port)


def test_a_killed_simulator_comes_back_on_its_port(started, lasting_home, eventually):
    before = lasting_home.pids()["simulator"]

    os.kill(before, signal.SIGKILL)

    def answers():
        return lasting_home.pids().get("simulator") != before and listens(started)

    eventually(answers)
    assert journal(started) == []


def listens(found: Endpoints) -> bool:
    try:
        return journal(found) == []
    except OSError:
        return False


def test_the_simulator_keeps_its_port_unless_somebody_else_took_it(started, lasting_home):
    services.stop(lasting_home.directory)
    assert services.start(lasting_home.directory) == started
    services.stop(lasting_home.directory)
    address = ("127.0.0.1", int(started.simulator_url.rpartition(":")[2]))

    with socket.create_server(address):
        other = services.start(lasting_home.directory)

        assert other.simulator_url != started.simulator_url
        assert journal(other) == []


def test_an_orphaned_simulator_is_ended(started, lasting_home):
    argv = psutil.Process(lasting_home.pids()["simulator"]).cmdline()
    lasting_home.supervisor().kill()
    leftover = subprocess.Popen([word if word != argv[-3] else "0" for word in argv], cwd=lasting_home.directory.parent)

    services.start(lasting_home.directory)

    assert leftover.wait(timeout=20) != 0


def test_a_simulator_alone_needs_no_home_and_no_system_user(home, blank, monkeypatch, eventually):
    monkeypatch.setattr("embedded.account.NAME", "headrace-none")
    elsewhere = SecretStr("postgresql://elsewhere/x")
    settings = blank.model_copy(
        update={"dir": home.directory, "database_url": elsewhere, "redis_url": elsewhere, "simulator_url": "private"}
    )

    with endpoints(settings) as found:
        assert found.embedded == {"simulator"}
        assert journal(found) == []
        assert not (home.directory / "servers").exists()
        with pytest.raises(KeyError):
            pwd.getpwnam("headrace-none")
        # and the others can still join it
        monkeypatch.undo()
        simulator = home.pids()["simulator"]
        assert home.start().embedded == {"postgres", "redis"}
        assert home.pids()["simulator"] == simulator


def test_the_commands_start_tell_and_stop(headrace, lasting_home):
    shown = json.loads(headrace("start", "--json"))
    assert {entry["name"]: entry["condition"] for entry in shown} == dict.fromkeys(
        ("postgres", "redis", "simulator"), "running"
    )
    assert json.loads(headrace("status", "--json")) == shown
    assert "postgres" in headrace("status")

    variables = json.loads(headrace("env", "--json"))
    assert variables == services.start(lasting_home.directory).environment()
    assert set(variables) == {
        "HEADRACE_DATABASE_URL",
        "HEADRACE_OPS_DATABASE_URL",
        "HEADRACE_OWNER_DATABASE_URL",
        "HEADRACE_REDIS_URL",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "HEADRACE_OPENAI_BASE_URL",
        "HEADRACE_ANTHROPIC_BASE_URL",
        "HEADRACE_SIMULATOR_URL",
    }

    assert json.loads(headrace("stop", "--json")) == {"stopped": True}
    assert "Nothing was running" in headrace("stop")
    headrace("status", code=1)
    result = CliRunner().invoke(app, ["env", "--dir", str(lasting_home.directory)])
    assert isinstance(result.exception, ServiceError)


def test_a_shell_takes_over_the_exports(headrace, started):
    script = headrace("env") + f'\nexec {sys.executable} -c "import json, os; print(json.dumps(dict(os.environ)))"'

    taken = json.loads(subprocess.run(["/bin/sh", "-c", script], check=True, stdout=subprocess.PIPE).stdout)

    assert started.environment().items() <= taken.items()


def test_start_starts_nothing_that_a_url_is_set_for(headrace, lasting_home, monkeypatch):
    headrace("stop")
    for name in ("HEADRACE_DATABASE_URL", "HEADRACE_REDIS_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "postgresql://elsewhere")

    assert "nothing to start" in headrace("start")

    assert lasting_home.processes() == []
