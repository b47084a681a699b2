"""What a start gives: servers for us alone, durable, the same for everybody who asks."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from pydantic import SecretStr

from console import endpoints as services
from console.endpoints import Endpoints
from embedded.account import for_servers


@pytest.fixture
def started(lasting_home) -> Endpoints:
    return lasting_home.start()


def test_start_gives_a_durable_utf8_database_with_vectors(started):
    with psycopg.connect(started.require_owner()) as connection:
        names = (
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "listen_addresses",
            "timezone",
            "max_connections",
            "shared_buffers",
            "server_encoding",
        )
        found = {name: connection.execute(f"show {name}").fetchone()[0] for name in names}
        connection.execute("create extension vector")
        distance = connection.execute("select '[1,2]'::vector <-> '[1,5]'::vector").fetchone()[0]
        database, user, is_superuser = connection.execute(
            "select current_database(), current_user, current_setting('is_superuser')"
        ).fetchone()

    assert found == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "timezone": "UTC",
        "max_connections": "200",
        "shared_buffers": "256MB",
        "server_encoding": "UTF8",
    }
    assert distance == 3
    assert (database, user, is_superuser) == ("headrace", "postgres", "on")


def test_start_gives_a_valkey_that_never_evicts_and_keeps_nothing(started):
    client = redis.from_url(started.redis_url, decode_responses=True)

    found = client.config_get("maxmemory-policy", "port", "save", "appendonly", "protected-mode")

    assert found == {
        "maxmemory-policy": "noeviction",
        "port": "0",
        "save": "",
        "appendonly": "no",
        "protected-mode": "yes",
    }


def test_servers_listen_for_nobody_else(lasting_home, started):
    for process in lasting_home.processes():
        assert process.net_connections(kind="inet") == []
    sockets = lasting_home.place.sockets.stat()
    assert stat.S_IMODE(sockets.st_mode) == 0o700
    assert sockets.st_uid == for_servers().uid
    for name in ("run", "logs"):
        kept = (lasting_home.directory / name).stat()
        assert (stat.S_IMODE(kept.st_mode), kept.st_uid) == (0o700, os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a user for the servers")
def test_root_runs_the_servers_as_another_user(lasting_home, started):
    for pid in lasting_home.pids().values():
        assert psutil.Process(pid).uids().real == for_servers().uid != 0


def test_start_prepares_the_database_as_its_owner(stopped_home):
    given = []

    started = services.start(stopped_home.directory, which=("postgres", "redis"), prepare=given.append)

    assert given == [started.owner_database_url]


def test_a_start_that_cannot_prepare_leaves_nothing_up(stopped_home, eventually):
    def refuse(url):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        services.start(stopped_home.directory, which=("postgres", "redis"), prepare=refuse)

    eventually(lambda: not stopped_home.processes())


def test_a_second_start_finds_the_same_servers(lasting_home, started):
    before = lasting_home.pids()

    again = lasting_home.start()

    assert again == started
    assert lasting_home.pids() == before


def test_two_shells_at_once_get_the_same_servers(home):
    commands = [home.begin_command() for _ in range(3)]

    urls = {command.stdout.readline() for command in commands}

    assert len(urls) == 1
    processes = {process.pid: process.cmdline() for process in home.processes()}
    programs = [Path(words[0]).name for words in processes.values() if words]
    assert programs.count("valkey-server") == programs.count("postgres") == 1
    assert sum("embedded.supervisor" in words for words in processes.values()) == 1


def test_a_service_that_was_not_wanted_at_first_joins_the_others(stopped_home, blank):
    elsewhere = blank.model_copy(update={"database_url": SecretStr("postgresql://elsewhere/x")})
    services.start(stopped_home.directory, which=("redis",), settings=elsewhere)
    assert set(stopped_home.pids()) == {"redis"}
    supervisor = stopped_home.supervisor()

    stopped_home.start()

    assert set(stopped_home.pids()) == {"postgres", "redis"}
    assert stopped_home.supervisor() == supervisor


def test_stop_ends_everything_and_the_data_stays(lasting_home, started, servers_are_well):
    servers_are_well(started)

    assert services.stop(lasting_home.directory) is True
    assert lasting_home.processes() == []
    assert [entry.condition for entry in services.status(lasting_home.directory)] == ["stopped"] * 3

    servers_are_well(lasting_home.start())


def test_stop_where_nothing_ever_ran(tmp_path):
    assert services.stop(tmp_path / "nowhere") is False


def test_status_tells_of_running_servers(lasting_home, started):
    found = {entry.name: entry for entry in services.status(lasting_home.directory)}

    assert found["postgres"].condition == found["redis"].condition == "running"
    assert found["postgres"].address == started.database_url
    assert psutil.pid_exists(found["redis"].pid)
    assert found["simulator"].condition == "stopped"


def test_a_bare_environment_is_enough(stopped_home, tmp_path):
    command = stopped_home.command(env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})

    assert stopped_home.pids().keys() == {"postgres", "redis"}
    assert command.poll() is None


def test_no_secret_reaches_the_keeper_or_a_server(stopped_home):
    stopped_home.command(env={**os.environ, "OPENAI_API_KEY": "sk-not-theirs", "PGPORT": "1", "PGDATA": "/nowhere"})

    for process in [stopped_home.supervisor(), *stopped_home.supervisor().children()]:
        assert not {"OPENAI_API_KEY", "PGPORT", "PGDATA"} & process.environ().keys()
