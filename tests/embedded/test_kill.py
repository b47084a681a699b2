"""Kill anything outright: what is left cleans itself up or is cleaned up, and the next start works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import psycopg
import pytest

from console import endpoints as services
from embedded.account import Account, for_servers
from embedded.server import read_server

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells children of a parent's death")


@pytest.fixture
def started(lasting_home, servers_are_well):
    found = lasting_home.start()
    servers_are_well(found)
    return found


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_the_keeper_brings_a_killed_server_back(name, lasting_home, started, servers_are_well, eventually):
    before = lasting_home.pids()

    os.kill(before[name], signal.SIGKILL)

    def is_back():
        entry = next(entry for entry in services.status(lasting_home.directory) if entry.name == name)
        return entry.condition == "running" and entry.pid != before[name] and entry.restarts >= 1

    eventually(is_back)
    servers_are_well(started)


def test_postgres_survives_a_killed_backend(lasting_home, started, servers_are_well):
    before = lasting_home.pids()
    with psycopg.connect(started.require_owner()) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")

    servers_are_well(lasting_home.start())  # which waits until it has recovered

    assert lasting_home.pids() == before


@linux
def test_a_killed_keeper_takes_its_servers_along(lasting_home, started, servers_are_well, eventually):
    supervisor = lasting_home.supervisor()
    servers = supervisor.children(recursive=True)

    supervisor.kill()

    eventually(lambda: not any(process.is_running() for process in servers))
    servers_are_well(lasting_home.start())


def test_start_right_after_the_keeper_was_killed(lasting_home, started, servers_are_well):
    before = lasting_home.pids()
    supervisor = lasting_home.supervisor()

    supervisor.kill()
    servers_are_well(lasting_home.start())

    assert not set(before.values()) & set(lasting_home.pids().values())
    assert len(lasting_home.supervisor().children()) == 2


def test_start_right_after_everything_was_killed(lasting_home, started, servers_are_well):
    supervisor = lasting_home.supervisor()
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # the kernel may have been quicker: the supervisor's death ends them too
            process.kill()

    servers_are_well(lasting_home.start())


def test_start_while_the_backends_of_a_killed_postmaster_still_end(lasting_home, started, servers_are_well):
    postmaster = psutil.Process(lasting_home.pids()["postgres"])
    backends = postmaster.children()
    supervisor = lasting_home.supervisor()
    backends[0].suspend()  # it holds on to the shared memory
    supervisor.suspend()  # lest it reacts
    for process in (postmaster, supervisor):
        process.kill()

    waker = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(1); os.kill({backends[0].pid}, 18)"])
    servers_are_well(lasting_home.start())

    waker.wait()
    assert "pre-existing shared memory block" in (lasting_home.directory / "logs" / "postgres.log").read_text()


def test_start_ends_servers_that_outlived_their_keeper(lasting_home, started, servers_are_well, eventually):
    """As on systems where children are not told of a parent's death."""
    run = lasting_home.directory / "run"
    asked = [read_server(run / f"{name}.server.json") for name in ("postgres", "redis")]
    supervisor = lasting_home.supervisor()
    servers = supervisor.children(recursive=True)
    supervisor.kill()
    psutil.wait_procs(servers, timeout=20)
    leftovers = [
        subprocess.Popen(
            server.argv,
            cwd=server.cwd,
            env=server.env,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            **Account(server.uid, server.gid).of_process(),
        )
        for server in asked
    ]
    eventually(lambda: lasting_home.place.valkey_socket.exists())
    eventually(lambda: (lasting_home.place.cluster / "postmaster.pid").exists())

    servers_are_well(lasting_home.start())

    for leftover in leftovers:
        leftover.wait(timeout=20)


def test_a_stranger_with_a_recycled_number_is_left_alone(lasting_home, started, servers_are_well):
    services.stop(lasting_home.directory)
    run, cluster = lasting_home.directory / "run", lasting_home.place.cluster
    account = for_servers()
    stranger = subprocess.Popen(["/bin/sleep", "60"], env={}, cwd="/", **account.of_process())
    try:
        pid_file = cluster / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{cluster}\n1700000000\n5432\n{lasting_home.place.sockets}\n\n\nready\n")
        os.chown(pid_file, account.uid, account.gid)
        lock_file = lasting_home.place.sockets / ".s.PGSQL.5432.lock"
        lock_file.write_text(pid_file.read_text())
        os.chown(lock_file, account.uid, account.gid)
        state = {"pid": stranger.pid, "stopping": False, "looks": 1, "servers": {}}
        (run / "state.json").write_text(json.dumps(state))

        servers_are_well(lasting_home.start())
        services.stop(lasting_home.directory)

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_start_that_was_killed_half_way_is_begun_anew(home, servers_are_well, eventually):
    command = home.begin_command()
    eventually(lambda: list(home.directory.glob("servers/new-*/*")))  # the cluster is being made
    command.kill()
    command.wait()

    servers_are_well(home.start())

    assert sorted(path.name for path in home.place.home.iterdir()) == ["postgres", "s"]


def test_a_start_that_was_killed_while_its_keeper_came_up(stopped_home, servers_are_well, eventually):
    asked = stopped_home.directory / "run" / "redis.server.json"
    for _ in range(4):
        asked.unlink(missing_ok=True)
        command = stopped_home.begin_command()
        eventually(asked.exists)
        command.kill()

        servers_are_well(stopped_home.start())

        assert len(stopped_home.supervisor().children()) == 2
        services.stop(stopped_home.directory)


def test_a_killed_command_and_keeper_leave_nothing(stopped_home, eventually):
    command = stopped_home.command()
    supervisor = stopped_home.supervisor()
    servers = supervisor.children(recursive=True)

    command.kill()
    supervisor.kill()

    if sys.platform.startswith("linux"):
        eventually(lambda: not any(process.is_running() for process in servers))
    stopped_home.command()
    assert not {process.pid for process in servers} & set(stopped_home.pids().values())
