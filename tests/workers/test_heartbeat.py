"""A heart that does not beat is noticed: nothing is claimed meanwhile, and where Postgres is well the process ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from errors import PostgresUnavailableError
from storage.db.database import Database
from storage.db.ids import new_id
from tests.support.fleet import Fleet, Urls, eventually
from tests.support.read_only_postgres import read_only
from workers.heartbeat import Heartbeat

SILENT_S = 0.6
NEVER, AT_ONCE = threading.Event(), threading.Event()
AT_ONCE.set()


@pytest.fixture
def heart(app: Database, ops: Database) -> Iterator[Heartbeat]:
    heart = Heartbeat(ops, new_id(), every_s=0.1, silent_s=SILENT_S, threads=1, jobs_database=app)
    heart.start()
    yield heart
    heart.stop()


def refuse_heartbeats(urls: Urls) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("revoke insert, update on headrace.workers from headrace_ops")


def test_a_worker_whose_heart_beats_claims_and_lives(heart: Heartbeat) -> None:
    assert heart.may_claim(AT_ONCE)
    assert heart.lost() is None


def test_a_heart_that_cannot_beat_while_postgres_is_well_is_lost(heart: Heartbeat, urls: Urls) -> None:
    refuse_heartbeats(urls)
    eventually(lambda: not heart.may_claim(AT_ONCE), why="it claims no more")
    assert heart.lost() is None, "the others have not taken anything back yet"
    assert "InsufficientPrivilege" in eventually(heart.lost, why="it is lost")


def test_a_bug_in_the_heartbeat_is_noticed(heart: Heartbeat, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError("no name")

    monkeypatch.setattr(socket, "gethostname", fail)
    assert eventually(heart.lost, why="it is lost")


def test_a_read_only_postgres_loses_no_heart_and_no_claim_is_made(heart: Heartbeat, urls: Urls) -> None:
    with ThreadPoolExecutor() as threads:
        with read_only(urls.owner):
            eventually(lambda: not heart.may_claim(AT_ONCE), why="it claims no more")
            waiting = threads.submit(heart.may_claim, NEVER)
            for _ in range(3):
                eventually(lambda: isinstance(heart._error, PostgresUnavailableError), why="another try was in vain")
                heart._error = None
                assert heart.lost() is None
                assert not waiting.done()
        assert waiting.result(), "it claims again"
    assert heart.lost() is None


def test_a_worker_whose_heart_cannot_beat_drains_and_asks_to_be_started_again(fleet: Fleet, urls: Urls) -> None:
    fleet.simulator()
    worker = fleet.worker(HEADRACE_WORKER_SILENT_S="1.5")
    refuse_heartbeats(urls)
    assert worker.wait(40) == 1
    assert "worker.heart_lost" in fleet.log("worker")
    assert "worker.stopped" in fleet.log("worker")
