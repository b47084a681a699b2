"""A server that cannot start says so at once, with its own words and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from console import endpoints as services
from embedded import valkey
from errors import PostgresUnavailableError, RedisUnavailableError, ServiceError


def test_a_database_of_another_version(stopped_home, eventually):
    stopped_home.start()
    services.stop(stopped_home.directory)
    (stopped_home.place.cluster / "PG_VERSION").write_text("12\n")

    with pytest.raises(PostgresUnavailableError) as failed:
        stopped_home.start()

    assert "initialized by PostgreSQL version 12" in str(failed.value)
    assert str(stopped_home.directory / "logs" / "postgres.log") in str(failed.value)
    eventually(lambda: not stopped_home.processes())  # and nothing stays up, or is retried behind our back
    (stopped_home.place.cluster / "PG_VERSION").write_text("18\n")
    assert stopped_home.start().embedded == {"postgres", "redis"}


def test_a_valkey_that_ends_at_once(stopped_home, monkeypatch, eventually):
    monkeypatch.setattr(valkey.binaries, "valkey", lambda account: Path("/bin/false"))

    with pytest.raises(RedisUnavailableError, match="exit code 1"):
        stopped_home.start()

    monkeypatch.undo()
    assert stopped_home.start().embedded == {"postgres", "redis"}


def test_a_disk_that_takes_no_database(home, monkeypatch):
    monkeypatch.setattr("embedded.postgres.OWNER", "pg_not_allowed")

    with pytest.raises(PostgresUnavailableError, match="could not be made") as failed:
        home.start()

    assert "pg_not_allowed" in str(failed.value)
    assert list((home.directory / "servers").glob("new-*")) == []


def test_a_keeper_that_cannot_start(stopped_home, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")

    with pytest.raises(ServiceError, match="supervisor of the private services did not start"):
        stopped_home.start()
