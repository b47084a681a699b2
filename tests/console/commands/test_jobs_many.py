"""``headrace jobs results``, and ``cancel`` and ``retry`` of many jobs: by filters and by a file of ids."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import stat
import subprocess
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from console.bulk.export import Exported, sink
from console.bulk.lines import COLUMNS
from storage.db.connect import Connection
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs, results
from storage.jobs.jobs import State
from storage.jobs.selection import SelectedJob
from tests.conftest import new_tenant
from tests.console.commands.conftest import BINARY, Headrace
from tests.support.fleet import eventually
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)

FORMULAS = ["=1+1", "+49 170", "-1", "@SUM(A1)", "\t=1", "＝1"]


def answered(connection: Connection, tenant: UUID, output: str = "Hi", **fields: Any) -> UUID:
    """A job that one call answered with this text."""
    job_id, claim_id, planned = enqueue_job(connection, tenant, **fields), new_id(), planned_call()
    claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
    assert begin_call(connection, tenant, job_id, claim_id, planned).verdict == "granted"
    facts = succeeded_outcome(planned.run_id) | {"output": output}
    assert settle_job(connection, tenant, job_id, claim_id, answered_run(planned.run_id), "ended", **facts) == "ended"
    return job_id


def failed(connection: Connection, tenant: UUID, **fields: Any) -> UUID:
    """A dead letter."""
    job_id, claim_id = enqueue_job(connection, tenant, **fields), new_id()
    claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id())
    error = {"code": "provider_refused", "message": "no", "field": None}
    settle_job(
        connection, tenant, job_id, claim_id, None, "ended", outcome="failed", reason="provider_refused", error=error
    )
    return job_id


def states(ops: Database, ids: Sequence[UUID]) -> list[str]:
    with ops.connection() as connection:
        rows = connection.execute(
            "select id, state from headrace.job_status where id = any(%s)", [list(ids)]
        ).fetchall()
    found = {row["id"]: row["state"] for row in rows}
    return [found[one] for one in ids]


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(one) for one in text.splitlines()]


# ---------------------------------------------------------------------------------------------------------- results


def test_what_went_in_as_a_file_comes_out_as_one(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    bee = new_tenant(ops, "Bee")
    with ops.connection() as connection:
        good = answered(
            connection, tenant, 'One,\n"two" ünï\u2028', idempotency_key="row 1", metadata={"row": 1, "big": 10**300}
        )
        bad = failed(connection, tenant, user_id="bob", feature="report", idempotency_key="row 2")
        waiting = enqueue_job(connection, tenant)
        others = answered(connection, bee, "theirs")

    done = headrace("jobs", "results", "--tenant", "Acme")

    first, second = lines_of(done.out.replace("\u2028", " "))
    assert done.code == 0
    assert first["job_id"] == str(good) and second["job_id"] == str(bad)
    assert (first["idempotency_key"], first["metadata"]["row"], first["metadata"]["big"]) == ("row 1", 1, 10**300)
    assert first["output"] == 'One,\n"two" ünï ' and first["output_json"] is None
    assert (first["state"], first["finish"], first["error"], first["attempts"]) == ("succeeded", "complete", None, 1)
    assert (first["provider"], first["model"], first["calls"]) == ("openai", "gpt-6-luna", 1)
    assert (first["input_tokens"], first["output_tokens"], first["simulated"]) == (10, 20, False)
    assert Decimal(first["cost_usd"]) == Decimal(headrace("jobs", "show", good, "--json").json["cost_usd"]) > 0
    assert first["created_at"].endswith("Z") and first["created_at"] < first["ended_at"]
    assert (second["state"], second["reason"], second["output"]) == ("failed", "provider_refused", None)
    assert second["error"]["message"] == "no" and Decimal(second["cost_usd"]) == 0
    assert "2 results (succeeded 1, failed 1)." in done.err
    assert "Not ended yet: 1 job." in done.err

    def ids(*arguments: object) -> list[str]:
        return [one["job_id"] for one in lines_of(headrace("jobs", "results", *arguments).out.replace("\u2028", " "))]

    assert ids("--all") == [str(good), str(bad), str(others)]
    assert ids("--all", "--after", good) == [str(bad), str(others)]
    assert ids("--state", "failed", "--state", "queued") == [str(bad), str(waiting)]
    assert ids("--user", "bob") == ids("--feature", "report") == [str(bad)]
    assert ids("--tenant", "Acme", "--lane", "batch") == ids("--until", "1h") == []
    assert ids("--since", "1h", "--tenant", "Bee") == [str(others)]
    chosen = tmp_path / "ids"
    chosen.write_text(f"{others}\n\n{json.dumps({'line': 1, 'id': str(good)})}\n{json.dumps(first)}\n{waiting}\n")
    assert ids("--ids", chosen) == [str(others), str(good)], "in the order of the file, each once"
    assert ids("--ids", chosen, "--tenant", "Acme") == [str(good)]


def test_an_id_of_no_job_is_told_of_and_a_line_without_one_is_refused(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    nobodys = new_id()
    with ops.connection() as connection:
        good = answered(connection, tenant)
    file = tmp_path / "ids"
    file.write_text(f"{nobodys}\n{good}\n")

    some = headrace("jobs", "results", "--ids", file, "--output", "out.jsonl", "--json")
    file.write_text(f"{good}\njob_id,state\n")
    wrong = headrace("jobs", "results", "--ids", file, "--json")

    assert (some.code, some.json["results"], some.json["unknown_ids"]) == (3, 1, [str(nobodys)])
    assert [one["job_id"] for one in lines_of((tmp_path / "out.jsonl").read_text())] == [str(good)]
    assert (wrong.code, wrong.json["error"]["field"], wrong.json["error"]["line"]) == (2, "ids", 2)
    assert "One" not in wrong.json["error"]["message"] and "job_id" in wrong.json["error"]["hint"]


def test_csv_keeps_every_cell_and_disarms_formulas(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    texts = [*FORMULAS, 'a,b\n"c"', "'quoted", "plain"]
    with ops.connection() as connection:
        for n, text in enumerate(texts):
            answered(connection, tenant, text, idempotency_key=f"-{n}", user_id=FORMULAS[0])

    done = headrace("jobs", "results", "--tenant", "Acme", "--format", "csv", "--output", tmp_path / "out.csv")

    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_bytes().decode(), newline="")))
    assert done.code == 0
    assert [row["output"] for row in rows] == [f"'{one}" if one in FORMULAS else one for one in texts]
    assert [row["idempotency_key"] for row in rows] == [f"'-{n}" for n in range(len(texts))]
    assert rows[0]["user_id"] == "'=1+1" and rows[0]["metadata"] == "{}" and rows[0]["error"] == ""


def test_a_file_is_whole_or_as_it_was(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    with ops.connection() as connection:
        answered(connection, tenant)
    target = tmp_path / "out.jsonl"
    target.write_text("as it was")

    away = headrace(
        "jobs", "results", "--all", "--output", target, env={"HEADRACE_OPS_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    )
    wrong = headrace("jobs", "results", "--all", "--ids", target, "--output", target)
    folder = headrace("jobs", "results", "--all", "--output", tmp_path / "nowhere" / "out", "--json")
    before = target.read_text()
    good = headrace("jobs", "results", "--all", "--output", target)

    assert (away.code, wrong.code, before) == (2, 2, "as it was")
    assert (folder.code, folder.json["error"]["field"]) == (2, "output")
    assert good.code == 0 and len(lines_of(target.read_text())) == 1
    assert [one.name for one in tmp_path.iterdir() if "part" in one.name] == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, None])
def test_a_file_of_results_is_read_by_no_more_people_than_before(mode: int | None, tmp_path: Path) -> None:
    target, link, done = tmp_path / "out.jsonl", tmp_path / "link", [Exported()]
    link.symlink_to(target)
    if mode is not None:
        target.write_text("as it was")
        target.chmod(mode)

    with sink(link, done) as stream:
        stream.write(b"answers")
        (part,) = [one for one in tmp_path.iterdir() if one.name.endswith(".part")]
        while_written = stat.S_IMODE(part.stat().st_mode)

    assert target.read_bytes() == b"answers"
    assert while_written == stat.S_IMODE(target.stat().st_mode) == (0o600 if mode is None else mode)


def test_a_reader_that_goes_away_ends_it_quietly(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    with ops.connection() as connection, connection.transaction():
        for _ in range(8):
            answered(connection, tenant, "x" * 200_000)

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {BINARY} jobs results --all | head -c 100"],
        env=environment, cwd=tmp_path, capture_output=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 141
    assert len(done.stdout) == 100
    assert done.stderr == b""


def test_large_answers_come_in_small_pages(ops: Database, tenant: UUID) -> None:
    with ops.connection() as connection:
        ids = [answered(connection, tenant, "x" * size) for size in (10, 500, 500, 500, 2000, 10)]
        found = [SelectedJob(one, tenant, State.SUCCEEDED) for one in ids]
        sizes = []
        while found:
            page = results.page(connection, found, most_bytes=1100)
            sizes.append(len(page))
            found = found[len(page) :]

    assert sizes == [3, 1, 1, 1]
    assert set(page[0]) == {*COLUMNS, "place", "bytes"}, "what a line holds is what is asked for"


# ------------------------------------------------------------------------------------------------- cancel and retry


def test_many_jobs_are_cancelled_after_a_look(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    bee = new_tenant(ops, "Bee")
    with ops.connection() as connection:
        ended = answered(connection, tenant)
        running = enqueue_job(connection, tenant)
        claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id())
        waiting = [enqueue_job(connection, tenant) for _ in range(205)]
        later = enqueue_job(connection, tenant, run_at="2100-01-01T00:00:00Z")
        reports = enqueue_job(connection, tenant, feature="report")
        others = enqueue_job(connection, bee)

    unsure = headrace("jobs", "cancel", "--tenant", "Acme", "--feature", "chat")
    unsaid = headrace("jobs", "cancel", "--tenant", "Acme", "--json")
    nothing = headrace("jobs", "cancel")
    both = headrace("jobs", "cancel", ended, "--tenant", "Acme")
    no_state = headrace("jobs", "cancel", "--state", "failed")
    untouched = states(ops, [running, *waiting, later])
    done = headrace("jobs", "cancel", "--tenant", "Acme", "--feature", "chat", "--yes")
    again = headrace("jobs", "cancel", "--tenant", "Acme", "--feature", "chat", "--yes", "--json")

    assert unsure.code == 2
    assert [" ".join(one.split()) for one in unsure.err.splitlines()[2:5]] == ["scheduled 1", "queued 205", "running 1"]
    assert "207 jobs would be cancelled, and nothing was done" in unsure.err and "--yes" in unsure.err
    assert unsaid.json["error"]["states"] == {"scheduled": 1, "queued": 206, "running": 1}
    assert (nothing.code, both.code, no_state.code) == (2, 2, 2)
    assert "--all" in nothing.err and "scheduled, queued, running" in no_state.err
    assert untouched == ["running", *["queued"] * 205, "scheduled"]
    assert done.code == 0
    assert "206 cancelled, 1 running, cancelled at their worker's next step." in done.err
    assert set(states(ops, [*waiting, later])) == {"cancelled"}
    assert states(ops, [ended, running, reports, others]) == ["succeeded", "running", "queued", "queued"]
    assert (again.code, again.json["cancelled"], again.json["cancelling"]) == (0, 0, 1)


def test_a_terminal_is_asked(environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path) -> None:
    with ops.connection() as connection:
        job_id = enqueue_job(connection, tenant)

    def answering(word: bytes) -> int:
        screen, terminal = pty.openpty()
        os.write(screen, word + b"\n")
        done = subprocess.run(
            [BINARY, "jobs", "cancel", "--all"],
            env=environment,
            cwd=tmp_path,
            stdin=terminal,
            capture_output=True,
            timeout=60,
        )
        os.close(terminal)
        os.close(screen)
        assert b"Cancel 1 job?" in done.stderr
        return done.returncode

    assert (answering(b"n"), states(ops, [job_id])) == (1, ["queued"])
    assert (answering(b"y"), states(ops, [job_id])) == (0, ["cancelled"])


def test_what_failed_is_asked_again_once(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    with ops.connection() as connection:
        dead = [failed(connection, tenant, metadata={"row": n}) for n in range(103)]
        dropped = enqueue_job(connection, tenant)
        jobs.cancel(connection, tenant, dropped, by="a test")
        answered(connection, tenant)

    first = headrace("jobs", "retry", "--tenant", "Acme", "--yes", "--json")
    (tmp_path / "dead").write_text("".join(f"{one}\n" for one in [*dead[:5], dropped, new_id()]))
    second = headrace("jobs", "retry", "--ids", "dead", "--yes")

    assert first.code == 0
    assert (first.json["asked_again"], first.json["already"], first.json["not_possible"]) == (103, 0, 0)
    new = {UUID(one["repeats"]): UUID(one["id"]) for one in first.json["jobs"]}
    assert list(new) == dead
    assert set(states(ops, list(new.values()))) == {"queued"}
    of_dead = headrace("jobs", "results", "--ids", "dead", "--state", "failed").out
    assert [UUID(one["asked_again_as"]) for one in lines_of(of_dead)] == [new[one] for one in dead[:5]]
    assert second.code == 3, "an id belongs to no job"
    assert [UUID(one) for one in second.out.split()[:5]] == [new[one] for one in dead[:5]]
    assert "1 retried, 5 were retried before." in second.err
    assert "Ids of the file that belong to no job: 1." in second.err
    with ops.connection() as connection:
        assert connection.execute("select count(*) as n from headrace.queue").fetchone() == {"n": 104}
        rows = connection.execute("select metadata from headrace.jobs where id = any(%s)", [list(new.values())])
        assert sorted(row["metadata"]["row"] for row in rows) == list(range(103))


def test_a_signal_ends_the_chunk_and_says_how_far(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    """The second chunk waits for a job that another transaction holds: there the signal meets it."""
    with ops.connection() as connection:
        waiting = [enqueue_job(connection, tenant) for _ in range(250)]
    with ops.connection() as holder, holder.transaction():
        holder.execute("select from headrace.queue where id = %s for update", [waiting[120]])
        running = subprocess.Popen(
            [BINARY, "jobs", "cancel", "--all", "--yes", "--json"],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        eventually(lambda: states(ops, [waiting[99]]) == ["cancelled"], why="the first chunk is done")
        eventually(lambda: _is_waiting(ops), why="the second one waits")
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert b"stopping when the step under way has ended" in running.stderr.read(60)
    out, _ = running.communicate(timeout=30)

    assert running.returncode == 130
    assert json.loads(out) == {
        "cancelled": 200, "cancelling": 0, "ended_before": 0, "left_out": 0, "unknown": 0, "interrupted": True,
    }  # fmt: skip
    assert states(ops, waiting) == ["cancelled"] * 200 + ["queued"] * 50


def _is_waiting(ops: Database) -> bool:
    with ops.connection() as connection:
        row = connection.execute("select exists (select from pg_locks where not granted) as waits").fetchone()
    return bool(row and row["waits"])


def test_a_claim_waits_for_no_more_than_a_chunk(ops: Database, app: Database, tenant: UUID) -> None:
    """While a chunk of jobs is being cancelled, and even while it cannot end, others claim and enqueue."""
    bee = new_tenant(ops, "Bee")
    with ops.connection() as connection:
        mine = enqueue_job(connection, bee)
        theirs = [enqueue_job(connection, tenant) for _ in range(20)]
    with ops.connection() as canceller, canceller.transaction():
        jobs.cancel_free(canceller, [tenant] * 10, theirs[:10], by="a test")
        claimed: list[Any] = []

        def claim() -> None:
            with app.connection() as connection:
                claimed.append(claim_job(connection, bee, claim_id=new_id(), worker_id=new_id()))
                claimed.append(claim_job(connection, tenant, claim_id=new_id(), worker_id=new_id()))
                enqueue_job(connection, tenant)

        worker = threading.Thread(target=claim)
        worker.start()
        worker.join(20)
        assert not worker.is_alive()

    assert [one.job_id for one in claimed] == [mine, theirs[10]]


def test_a_chunk_holds_no_job_while_it_waits_for_another(
    headrace: Headrace, ops: Database, app: Database, tenant: UUID
) -> None:
    """A worker's transaction holds what it claimed while it waits for others. If both did so, they would deadlock."""
    with ops.connection() as connection:
        waiting = [enqueue_job(connection, tenant) for _ in range(5)]
    with ops.connection() as canceller, ops.connection() as holder:
        with holder.transaction():
            holder.execute("select from headrace.queue where id = %s for update", [waiting[2]])
            with canceller.transaction():
                canceller.execute("set local lock_timeout = '1ms'")
                said = jobs.cancel_free(canceller, [tenant] * 6, [*waiting, new_id()], by="a test")
        assert {one: said[one] for one in waiting if one in said} == dict.fromkeys(
            [one for one in waiting if one != waiting[2]], "cancelled"
        )
    assert [said[one] for one in said if one not in waiting] == [None], "there is no such job"

    done = headrace("jobs", "cancel", "--all", "--yes", "--json")

    assert (done.code, done.json["cancelled"]) == (0, 1)
    assert states(ops, waiting) == ["cancelled"] * 5


@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", "0001-01-01", "99999w", "-1h", ""])
def test_a_time_that_is_not_one_is_refused(headrace: Headrace, given: str) -> None:
    done = headrace("jobs", "list", f"--since={given}", "--json")

    assert (done.code, done.json["error"]["field"]) == (2, "since")
    assert "90m, 12h, 7d" in done.json["error"]["hint"]
