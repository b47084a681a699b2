"""The services stay up while a process uses them, or until they are told to stop, and not longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from console import endpoints as services
from console.endpoints import endpoints


@pytest.fixture
def settings(lasting_home, blank):
    # A provider's base URL is set, so that no simulator is wanted.
    return blank.model_copy(update={"dir": lasting_home.directory, "openai_base_url": "http://127.0.0.1:9/v1"})


@pytest.fixture(autouse=True)
def _nothing_runs(lasting_home):
    yield
    services.stop(lasting_home.directory)


def test_servers_are_there_for_the_length_of_the_block(lasting_home, settings, servers_are_well, eventually):
    with endpoints(settings, prepare=lambda url: None) as found:
        servers_are_well(found)
        assert found.embedded == {"postgres", "redis"}
        assert found.openai_base_url == "http://127.0.0.1:9/v1"

    eventually(lambda: not lasting_home.processes())


def test_a_killed_command_takes_its_servers_along(lasting_home, eventually):
    command = lasting_home.command()

    command.kill()

    eventually(lambda: not lasting_home.processes())


def test_servers_outlive_the_command_that_started_them_while_another_uses_them(
    lasting_home, settings, servers_are_well, eventually
):
    command = lasting_home.command()
    before = lasting_home.pids()

    with endpoints(settings, prepare=lambda url: None) as found:
        command.kill()
        command.wait()
        with endpoints(settings, prepare=lambda url: None) as again:
            assert again == found
        servers_are_well(found)
        assert lasting_home.pids() == before

    eventually(lambda: not lasting_home.processes())


def test_a_new_user_never_gets_servers_that_are_about_to_stop(lasting_home, settings, servers_are_well):
    for _ in range(5):
        with endpoints(settings, prepare=lambda url: None) as found:
            servers_are_well(found)
        # Signalled like this the supervisor goes down while the next user is at the door.
        if pids := lasting_home.pids():
            os.kill(lasting_home.supervisor().pid, signal.SIGTERM)
            assert pids


def test_servers_that_were_told_to_stay_need_no_user(lasting_home, settings):
    # The starting process is gone when this returns.
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from console import endpoints as services;"
            "services.start(Path(sys.argv[1]), which=('postgres', 'redis'), prepare=lambda url: None)",
            str(lasting_home.directory),
        ],
        check=True,
    )
    before = lasting_home.pids()
    with endpoints(settings, prepare=lambda url: None):
        pass
    command = lasting_home.command()
    command.kill()
    command.wait()

    # The supervisor looks for users twice a second.
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert lasting_home.pids() == before


def test_stop_ends_servers_in_use(lasting_home, settings, eventually):
    with endpoints(settings, prepare=lambda url: None) as found:
        connection = psycopg.connect(found.require_owner())
        connection.execute("select 1")

        assert services.stop(lasting_home.directory) is True

        assert lasting_home.processes() == []
        connection.close()
        with endpoints(settings, prepare=lambda url: None) as again:
            assert again == found


def test_a_removed_directory_takes_its_servers_along(home, eventually):
    home.start()
    processes = [home.supervisor(), *home.supervisor().children(recursive=True)]

    (home.directory / "run").rename(home.directory / "gone")  # what rm -r comes to, minus the race with us

    eventually(lambda: not any(process.is_running() for process in processes))
