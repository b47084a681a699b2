"""``headrace jobs enqueue`` that is stopped on its way: what is in is told, and the rest can be sent."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from storage.db.connect import Connection
from storage.db.database import Database
from tests.console.commands.conftest import BINARY, Headrace
from tests.support.fleet import eventually
from tests.support.job_lines import in_database, line, write


def test_a_signal_ends_the_lines_under_way_tells_their_ids_and_closes_the_document(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    """The second window waits for a key that another transaction holds: there the signal meets it."""
    lines = [line(idempotency_key=f"k {n}", user_id=f"u {n}") for n in range(6000)]
    command = [BINARY, "jobs", "enqueue", "--file", write(tmp_path / "jobs.jsonl", lines), "--tenant", str(tenant)]
    with ops.connection() as holder, holder.transaction(), (tmp_path / "ids").open("wb") as ids:
        _hold_key(holder, tenant, "k 3500")
        running = subprocess.Popen(
            [*command, "--json"], env=environment, cwd=tmp_path, stdout=ids, stderr=subprocess.PIPE
        )
        eventually(lambda: _is_waiting(ops), why="the second window waits", within_s=60)
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert b"stopping when the step under way has ended" in running.stderr.read(60)
        holder.execute("delete from headrace.idempotency where key = 'k 3500'")
    assert running.wait(60) == 130

    document = json.loads((tmp_path / "ids").read_text())
    assert (document["enqueued"], document["after_line"], document["interrupted"]) == (4000, 4000, True)
    assert [one["line"] for one in document["jobs"]] == list(range(1, 4001))
    assert {UUID(one["id"]): f"u {one['line'] - 1}" for one in document["jobs"]} == in_database(ops)

    rest = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=60)
    assert rest.returncode == 0
    assert b"2000 enqueued, 4000 existed already, 0 refused." in rest.stderr
    assert len(in_database(ops)) == 6000


def test_while_it_waits_for_lines_a_signal_ends_it_at_once_and_a_second_one_in_a_window_too(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    command = [BINARY, "jobs", "enqueue", "--file", "-", "--tenant", str(tenant)]
    text = "".join(json.dumps(line(idempotency_key=f"k {n}")) + "\n" for n in range(2000)).encode()
    streams: dict[str, Any] = {
        "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0,
    }  # fmt: skip
    waiting = subprocess.Popen(command, env=environment, cwd=tmp_path, **streams)
    assert waiting.stdin is not None and waiting.stdout is not None
    waiting.stdin.write(text + json.dumps(line()).encode() + b"\n")
    waiting.stdin.flush()
    first = waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)  # it may still write the window's ids, or wait for the next line
    out, err = waiting.communicate(timeout=60)

    assert waiting.returncode == 130
    assert len((first + out).split()) == len(in_database(ops)) == 2000
    assert b"the lines up to 2000 were enqueued" in err and b"tail -n +2001 FILE" in err

    with ops.connection() as holder, holder.transaction():
        _hold_key(holder, tenant, "again")
        held = subprocess.Popen(command, env=environment, cwd=tmp_path, **streams)
        assert held.stdin is not None and held.stderr is not None
        held.stdin.write(json.dumps(line(idempotency_key="again")).encode() + b"\n")
        held.stdin.close()
        eventually(lambda: _is_waiting(ops), why="the window waits", within_s=60)
        held.send_signal(signal.SIGINT)
        assert b"stopping" in held.stderr.read(10)
        held.send_signal(signal.SIGINT)
        assert held.wait(30) == 130
        assert b"no line was enqueued" in held.stderr.read()
    assert len(in_database(ops)) == 2000


def test_a_reader_of_the_ids_that_goes_away_ends_it_after_a_window(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    file = write(tmp_path / "jobs.jsonl", [line()] * 5000)

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {BINARY} jobs enqueue --file {file} --tenant {tenant} | head -n 1"],
        env=environment, cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip

    came = len(in_database(ops))
    assert done.returncode == 141
    assert came in (2000, 4000)
    assert f"the lines up to {came} were enqueued" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_several_files_are_refused(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", [line()]), write(tmp_path / "two", [line()])

    done = headrace("jobs", "enqueue", "--file", one, "--file", two, "--tenant", tenant, "--json")

    assert (done.code, done.json["error"]["field"]) == (2, "file")
    assert "given 2 times" in done.json["error"]["message"] and "cat FILES |" in done.json["error"]["hint"]
    assert in_database(ops) == {}


def _hold_key(holder: Connection, tenant: UUID, key: str) -> None:
    """Make every enqueue with this key wait for the holder's transaction."""
    holder.execute(
        "insert into headrace.idempotency (tenant_id, key, job_id, body_hash) values (%s, %s, %s, '')",
        [tenant, key, uuid4()],
    )


def _is_waiting(ops: Database) -> bool:
    with ops.connection() as connection:
        row = connection.execute("select exists (select from pg_locks where not granted) as waits").fetchone()
    return bool(row and row["waits"])
