"""The simulator as a process: its port, its signals, its command, and many connections at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
import typer
from typer.testing import CliRunner

from console.commands.simulate import simulate
from errors import ConfigurationError
from simulator.__main__ import main

WITHIN_S = 20
CALL = json.dumps({"model": "gpt-5.4-mini", "input": "Hello"}).encode()


def test_it_writes_its_port_once_it_listens_and_only_on_loopback(start_simulator):
    _, port = start_simulator()

    assert httpx2.get(f"http://127.0.0.1:{port}/_sim/behaviour").status_code == 200
    with pytest.raises(OSError):
        socket.create_connection((other_address(), port), timeout=2).close()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_on_a_signal_even_with_hanging_calls(start_simulator, stop):
    process, port = start_simulator()
    httpx2.put(f"http://127.0.0.1:{port}/_sim/behaviour", json={"openai": {"fault": "hang"}})
    with socket.create_connection(("127.0.0.1", port)) as hanging:
        hanging.sendall(request(CALL))
        wait_until_asked(port)
        process.send_signal(stop)

        assert process.wait(WITHIN_S) == 0


def test_a_port_that_is_taken_is_refused_in_words(start_simulator, capsys):
    _, port = start_simulator()

    assert main(["--port", str(port)]) == 2
    assert f"(got {port})" in capsys.readouterr().err


def test_the_command_says_where_it_listens(tmp_path):
    lines = output_of_command(tmp_path, "--port", "0")
    port = int((tmp_path / "port").read_text())

    assert f"http://127.0.0.1:{port}/v1" in lines
    assert f"http://127.0.0.1:{port}\n" in lines


def test_the_command_says_it_to_programs(tmp_path):
    told = json.loads(output_of_command(tmp_path, "--port", "0", "--json"))

    assert told["openai_base_url"] == told["anthropic_base_url"] + "/v1"
    assert told["port"] == int((tmp_path / "port").read_text())


def test_the_command_refuses_a_taken_port(start_simulator):
    _, port = start_simulator()
    command = typer.Typer()
    command.command()(simulate)
    result = CliRunner().invoke(command, ["--port", str(port)])

    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.field == "port"


def test_a_thousand_calls_are_answered_at_once(simulator):
    simulator.behave(openai={"latency_ms": 500})
    connections = [socket.create_connection(("127.0.0.1", simulator.port), timeout=WITHIN_S) for _ in range(1_000)]
    try:
        for connection in connections:
            connection.sendall(request(CALL))
        heads = [connection.recv(64) for connection in connections]
    finally:
        for connection in connections:
            connection.close()

    assert {head.split(b"\r\n")[0] for head in heads} == {b"HTTP/1.1 200 OK"}
    assert len(simulator.journal()) == 1_000


def request(body: bytes) -> bytes:
    return (
        b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer k\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def wait_until_asked(port: int) -> None:
    """Return once the server has read what was sent to it before: it answers connections in the order they come."""
    httpx2.get(f"http://127.0.0.1:{port}/_sim/journal")


def other_address() -> str:
    """An address of this machine that is not 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; only picks a route
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


def output_of_command(tmp_path, *arguments: str) -> str:
    """What ``headrace simulate`` prints up to its end, which SIGTERM brings as soon as it listens."""
    script = (
        "import sys, typer; from console.commands.simulate import simulate; app = typer.Typer();"
        " app.command()(simulate); app(sys.argv[1:], standalone_mode=False)"
    )
    command = [sys.executable, "-c", script, *arguments, "--port-file", str(tmp_path / "port")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    first = process.stdout.readline()
    process.terminate()
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(WITHIN_S) == 0
    return first + rest
