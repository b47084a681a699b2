"""What waits for Postgres gets to it when it is back, and not only when its own patience is at an end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from storage.db.connect import Connection
from storage.db.database import Database
from tests.support.closable_socket import Gate
from tests.support.fleet import Urls, eventually

WITHIN_S = 8.0  # less than a pool's own patience with those who wait in it


def ask(connection: Connection) -> object:
    return connection.execute("select 1 as one").fetchone()


def test_a_step_gets_through_soon_after_an_outage(urls: Urls) -> None:
    with Gate(urls.app) as gate, Database(gate.url, connections=1) as database, ThreadPoolExecutor() as threads:
        assert database.retry_until_answered(ask) == {"one": 1}

        gate.shut()
        waiting = threads.submit(database.retry_until_answered, ask, within_s=WITHIN_S)
        # the connection that was cut is replaced in vain, then another one is made in vain for a waiting caller
        eventually(lambda: gate.refused >= 4, why="the pool has given up")
        gate.open()

        assert waiting.result() == {"one": 1}


def test_what_a_function_of_ours_raises_is_no_outage(app: Database) -> None:
    tries = []

    def fail(connection: Connection) -> None:
        tries.append(1)
        connection.execute("do $$ begin raise exception 'impossible' using errcode = 'HR500'; end $$")

    with pytest.raises(psycopg.Error, match="impossible"):
        app.retry_until_answered(fail)
    assert tries == [1]
