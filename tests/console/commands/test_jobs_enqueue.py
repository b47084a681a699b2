"""``headrace jobs enqueue``: good lines go in, bad ones are told of, whatever is wrong with them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from storage.db.database import Database
from storage.jobs import jobs
from tests.conftest import new_tenant
from tests.console.commands.conftest import BINARY, Headrace, Ran
from tests.support.fleet import eventually
from tests.support.job_lines import in_database, line, write

TICKET = {"ticket": "Help", "customer": "Ada", "product": "Desk"}


def with_prompt(**variables: str | None) -> dict[str, Any]:
    given = {name: value for name, value in {**TICKET, **variables}.items() if value is not None}
    return line(feature="support_reply", prompt="support_reply", messages=None, variables=given)


EARLIER = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
BAD: list[tuple[Any, str, str | None]] = [
    (line(tenant_id=str(uuid4())), "unknown_tenant", "tenant_id"),
    (line(tenant_id="nobody"), "unknown_tenant", "tenant_id"),
    (line(tenant_id=7), "invalid_input", "tenant_id"),
    (line(tenant_id=None), "invalid_input", "tenant_id"),
    (line(feature="telepathy"), "unknown_feature", "feature"),
    (line(prompt="nothing", messages=None, variables={}), "unknown_prompt", "prompt"),
    (line(lane="fast"), "unknown_lane", "lane"),
    (with_prompt(customer=None), "missing_variable", "variables.customer"),
    (with_prompt(mood="sour"), "extra_variable", "variables.mood"),
    (with_prompt(ticket="x" * 12_001), "too_long", "variables.ticket"),
    (line(messages=[{"role": "user", "content": "x" * 400_001}]), "too_long", "messages"),
    (line(output_schema={"type": "objekt"}), "invalid_schema", "output_schema.type"),
    (line(deadline=EARLIER), "deadline_passed", "deadline"),
    (line(deadline="2100-01-01T00:00:00"), "invalid_input", "deadline"),
    (line(user_id=None), "invalid_input", "user_id"),
    (line(prompt="support_reply"), "invalid_input", "prompt"),
    (line(messages=[{"role": "wizard", "content": "Hi"}]), "invalid_input", "messages[0].role"),
    (line(max_output_tokens=0), "invalid_input", "max_output_tokens"),
    (line(colour="red"), "invalid_input", "colour"),
    ('{"user_id": "ada", "feature"', "invalid_input", None),
    ("[]", "invalid_input", None),
    ('{"user_id": "ada", "feature": "chat", "metadata": {"x": NaN}}', "invalid_input", None),
]


def test_a_thousand_lines_go_in_but_for_the_bad_ones(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set external_id = 'acme-1' where id = %s", [tenant])
    bee = new_tenant(ops, "Bee")
    whose = ["Acme", "acme-1", str(tenant), "Bee", str(bee).upper()]
    lines: list[Any] = [line(tenant_id=whose[i % 5], user_id=f"user {i}") for i in range(1000)]
    bad = {45 * i + 3: entry for i, entry in enumerate(BAD)}
    for number, (one, _, _) in bad.items():
        is_about_tenants = isinstance(one, str) or "tenant_id" in one or one == BAD[3][0]
        lines[number - 1] = one if is_about_tenants else {"tenant_id": "Acme", **one}

    done = headrace("jobs", "enqueue", "--file", write(tmp_path / "jobs.jsonl", lines), "--json")

    assert done.code == 3
    assert done.json["enqueued"] == 1000 - len(BAD)
    told = {one["line"]: (one["code"], one["field"]) for one in done.json["refused"]}
    assert told == {number: (code, field) for number, (_, code, field) in bad.items()}
    assert all(one["reason"] for one in done.json["refused"])
    stored = in_database(ops)
    assert {UUID(one["id"]): f"user {one['line'] - 1}" for one in done.json["jobs"]} == stored
    assert [one["line"] for one in done.json["jobs"]] == sorted(set(range(1, 1001)) - set(bad))
    with ops.connection() as connection:
        rows = connection.execute("select tenant_id, count(*) as n from headrace.queue group by 1").fetchall()
    good = Counter(bee if i % 5 > 2 else tenant for i in range(1000) if i + 1 not in bad)
    assert {row["tenant_id"]: row["n"] for row in rows} == good


def test_people_get_ids_on_one_stream_and_a_table_on_the_other(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    file = write(tmp_path / "jobs.jsonl", [line(), "{oops", line(feature="telepathy")])

    done = headrace("jobs", "enqueue", "--file", file, "--tenant", "Acme")

    assert done.code == 3
    assert [UUID(one) for one in done.out.splitlines()] == list(in_database(ops))
    words = [" ".join(row.split()) for row in done.err.splitlines()]
    assert words[0] == "line field reason code"
    assert words[2].startswith("2 is not JSON: Expecting property name") and words[2].endswith("invalid_input")
    told = "3 feature no such feature in the routing policy (got 'telepathy'). There are: "
    assert words[3].startswith(told) and words[3].endswith(" unknown_feature")
    assert words[-1] == "1 enqueued, 2 refused."


def test_all_in_is_0_and_none_in_is_1_and_nothing_asked_is_nothing_wrong(
    headrace: Headrace, tenant: UUID, tmp_path: Path
) -> None:
    good = headrace("jobs", "enqueue", "--file", "-", "--tenant", tenant, stdin=json.dumps(line()).encode())
    bad = headrace("jobs", "enqueue", "--file", "-", "--tenant", tenant, stdin=b"{\n")
    nothing = headrace("jobs", "enqueue", "--file", "-", "--json", stdin=b"\n\n")

    assert (good.code, good.err, len(good.out.split())) == (0, "", 1)
    assert (bad.code, bad.out) == (1, "")
    assert nothing.code == 0
    assert nothing.json == {
        "jobs": [], "refused": [], "enqueued": 0, "already": 0, "after_line": 0, "interrupted": False,
    }  # fmt: skip


def test_a_file_learns_no_names_of_tenants_and_the_operator_does(
    in_process: Callable[..., Ran], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    twins = [new_tenant(ops, "Twin"), new_tenant(ops, "Twin")]
    unknown = write(tmp_path / "jobs.jsonl", [line(tenant_id="Acmee"), line(tenant_id="Twin")])

    of_lines = [in_process("jobs", "enqueue", "--file", unknown, *one) for one in ([], ["--json"], ["--dry-run"])]
    typed = in_process("jobs", "enqueue", "--file", unknown, "--tenant", "Acmee")
    dry = in_process("jobs", "enqueue", "--file", unknown, "--tenant", "Acmee", "--dry-run")

    for done in of_lines:
        told = " ".join((done.out + done.err).split())
        assert (done.code, told.count("`headrace tenants list`")) == (1, 2)
        assert "Acme" not in told.replace("Acmee", "") and not any(str(one) in told for one in twins)
    assert (typed.code, typed.err) == (dry.code, dry.err)
    assert (typed.code, typed.out) == (2, "")
    assert typed.err.startswith("error: tenant: No such tenant (got 'Acmee'). Did you mean Acme?")


def test_a_line_for_another_tenant_than_that_of_all_lines_is_refused(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    new_tenant(ops, "Bee")
    file = write(tmp_path / "jobs.jsonl", [line(tenant_id="Bee"), line(tenant_id="Acme")])

    done = headrace("jobs", "enqueue", "--file", file, "--tenant", tenant, "--json")

    assert done.code == 3
    assert [(one["line"], one["field"]) for one in done.json["refused"]] == [(1, "tenant_id")]
    assert headrace("jobs", "enqueue", "--file", file, "--tenant", "Cee").code == 2


def test_an_id_needs_no_operator(headrace: Headrace, tenant: UUID, tmp_path: Path) -> None:
    file = write(tmp_path / "jobs.jsonl", [line(tenant_id=str(tenant)), line(tenant_id="Acme")])

    alone = {"HEADRACE_OPS_DATABASE_URL": None}
    by_id = headrace("jobs", "enqueue", "--file", write(tmp_path / "one", [line(tenant_id=str(tenant))]), env=alone)
    by_name = headrace("jobs", "enqueue", "--file", file, "--json", env=alone)

    assert by_id.code == 0
    assert (by_name.code, by_name.json["error"]["field"]) == (2, "HEADRACE_OPS_DATABASE_URL")


def test_a_key_used_twice_gives_the_first_job(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    file = write(tmp_path / "jobs.jsonl", [line(idempotency_key="k"), line(idempotency_key="k")])

    first = headrace("jobs", "enqueue", "--file", file, "--tenant", tenant)
    again = headrace("jobs", "enqueue", "--file", file, "--tenant", tenant)

    assert len(in_database(ops)) == 1
    assert set(first.out.split()) == set(again.out.split()) == {str(one) for one in in_database(ops)}
    assert "1 enqueued, 1 existed already, 0 refused." in first.err
    assert "0 enqueued, 2 existed already, 0 refused." in again.err


def test_sent_again_it_says_what_was_there(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    lines = [line(idempotency_key=f"k {n}") for n in range(4)]
    headrace("jobs", "enqueue", "--file", write(tmp_path / "jobs.jsonl", lines[:2]), "--tenant", tenant)

    again = headrace(
        "jobs", "enqueue", "--file", write(tmp_path / "jobs.jsonl", [*lines, "{oops"]), "--tenant", tenant, "--json"
    )

    assert (again.code, again.json["enqueued"], again.json["already"], len(again.json["refused"])) == (3, 2, 2, 1)
    assert [one.get("already", False) for one in again.json["jobs"]] == [True, True, False, False]
    assert {UUID(one["id"]) for one in again.json["jobs"]} == set(in_database(ops))


def test_a_file_that_cannot_be_read_is_refused_before_anything_goes_in(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(json.dumps(line()).encode() + b"\n{'caf\xe9'}\n")

    latin = headrace("jobs", "enqueue", "--file", file, "--tenant", tenant, "--json")
    missing = headrace("jobs", "enqueue", "--file", tmp_path / "nothing", "--json")
    folder = headrace("jobs", "enqueue", "--file", tmp_path)

    assert (latin.code, latin.json["error"]["code"], latin.json["error"]["line"]) == (2, "invalid_input", 2)
    assert (missing.code, missing.json["error"]["field"]) == (2, "file")
    assert "no such file" in missing.json["error"]["message"]
    assert (folder.code, folder.err.count("\n")) == (2, 1)
    assert in_database(ops) == {}


def test_a_stream_that_turns_out_not_to_be_utf8_says_how_far_it_came(
    headrace: Headrace, ops: Database, tenant: UUID
) -> None:
    good = json.dumps(line()).encode() + b"\n"

    done = headrace("jobs", "enqueue", "--file", "-", "--tenant", tenant, "--json", stdin=good * 2001 + b"\xe9\n")

    assert (done.code, done.json["error"]["line"]) == (2, 2002)
    assert done.json["enqueued"] == len(done.json["jobs"]) == len(in_database(ops)) == 2000


def test_jobs_go_in_when_the_wire_is_away(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    file = write(tmp_path / "jobs.jsonl", [line()])

    done = headrace(
        "jobs", "enqueue", "--file", file, "--tenant", tenant, env={"HEADRACE_REDIS_URL": "redis://:geheim@127.0.0.1:1"}
    )

    assert done.code == 0
    assert [UUID(one) for one in done.out.split()] == list(in_database(ops))
    assert "turn.hint_lost" in done.err
    assert "geheim" not in done.err


def test_postgres_that_is_away_is_named_and_its_password_is_not(
    headrace: Headrace, tenant: UUID, tmp_path: Path
) -> None:
    file = write(tmp_path / "jobs.jsonl", [line(tenant_id=str(tenant))])
    away = "postgresql://headrace_app:geheim@127.0.0.1:1/headrace"

    done = headrace("jobs", "enqueue", "--file", file, "--json", env={"HEADRACE_DATABASE_URL": away})

    assert (done.code, done.json["error"]["code"], done.json["enqueued"]) == (2, "postgres_unavailable", 0)
    assert "postgresql://headrace_app:***@127.0.0.1:1/headrace" in done.err
    assert "geheim" not in done.err + done.out


def test_a_bar_is_shown_only_to_who_watches(
    environment: dict[str, str], ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    file = write(tmp_path / "jobs.jsonl", [line()] * 300)
    screen, terminal = pty.openpty()
    seen = bytearray()

    def watch() -> None:
        while True:
            try:
                seen.extend(os.read(screen, 65536))
            except OSError:  # there is no writer any more
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = subprocess.run(
        [BINARY, "jobs", "enqueue", "--file", file, "--tenant", str(tenant)],
        env=environment | {"TERM": "xterm"}, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, timeout=60,
    )  # fmt: skip
    os.close(terminal)
    watcher.join(10)
    os.close(screen)

    assert done.returncode == 0
    assert b"300 lines" in seen
    assert b"100%" in seen
    assert len(done.stdout.split()) == 300, "the ids are not mixed with the bar"


def test_lines_are_taken_before_the_stream_ends(
    environment: dict[str, str], app: Database, tenant: UUID, tmp_path: Path
) -> None:
    with (tmp_path / "ids").open("wb") as ids:
        running = subprocess.Popen(
            [BINARY, "jobs", "enqueue", "--file", "-", "--tenant", str(tenant)],
            env=environment, cwd=tmp_path, stdin=subprocess.PIPE, stdout=ids,
        )  # fmt: skip
    assert running.stdin is not None
    with running:
        running.stdin.write((json.dumps(line()) + "\n").encode() * 2000)
        running.stdin.flush()

        def are_in() -> bool:
            with app.as_tenant(tenant) as connection:
                return jobs.count_by_state(connection, tenant) == {"queued": 2000}

        eventually(are_in, why="the first window is in while the stream is open")
        eventually(lambda: len((tmp_path / "ids").read_bytes().split()) == 2000, why="its ids are told")
        running.stdin.close()
        assert running.wait(30) == 0


def test_the_file_has_to_be_named(headrace: Headrace) -> None:
    done = headrace("jobs", "enqueue")

    assert done.code == 2
    assert "--file" in done.err


# ---------------------------------------------------------------------------------------------------------- dry runs


def lines_of_all_kinds(ops: Database, tenant: UUID) -> list[Any]:
    """What would run, what would be rejected, what would wait, what was asked before; two of them are refused."""
    with ops.connection() as connection:
        connection.execute("update headrace.features set paused_at = now() where name = 'report'")
        connection.execute("update headrace.features set max_input_chars = null")  # only the worker's policy knows it
        connection.execute(
            "insert into headrace.caps (tenant_id, scope, key, limit_usd, hour)"
            " values (%s, 'user', 'poor', 0, 'epoch')",
            [tenant],
        )
    return [
        line(),
        "{oops",
        line(force_tier="strong"),
        line(user_id="poor"),
        line(feature="report"),
        line(idempotency_key="k"),
        line(feature="telepathy"),
        line(messages=[{"role": "user", "content": "x" * 250_000}]),
        line(dry_run=False),
    ]


def rated(ops: Database) -> None:
    """Hold the rate that is shipped: 60 requests a minute of each user."""
    with ops.connection() as connection:
        connection.execute("update headrace.plans set user_per_minute = 60")


def test_a_dry_run_tells_of_each_line_and_lets_none_in(
    headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path
) -> None:
    rated(ops)
    file = write(tmp_path / "jobs.jsonl", lines_of_all_kinds(ops, tenant))
    taken = headrace(
        "jobs", "enqueue", "--file", "-", "--tenant", "Acme", stdin=json.dumps(line(idempotency_key="k")).encode()
    )

    done = headrace("jobs", "enqueue", "--file", file, "--tenant", "Acme", "--dry-run", "--json")

    assert done.code == 3
    quotes = {one["line"]: one for one in done.json["quotes"]}
    assert {number: one["verdict"] for number, one in quotes.items()} == {
        1: "would_run", 3: "would_run", 4: "would_be_rejected",
        5: "would_wait", 6: "would_repeat", 8: "would_be_rejected",
    }  # fmt: skip
    assert [(one["line"], one["code"], one["field"]) for one in done.json["refused"]] == [
        (2, "invalid_input", None), (7, "unknown_feature", "feature"), (9, "invalid_input", "dry_run"),
    ]  # fmt: skip
    assert (quotes[3]["tier"], quotes[3]["rule"], quotes[3]["primary"]["model"]) == (
        "strong",
        "forced",
        "claude-sonnet-5-5",
    )
    assert [cap["scope"] for cap in quotes[1]["caps"]] == ["tenant", "user", "feature"]
    assert quotes[1]["rates"][0]["room"] == quotes[1]["rates"][0]["per_minute"]
    assert (quotes[4]["error"]["code"], quotes[8]["error"]["code"]) == ("over_budget", "too_long")
    assert [wait["waits_for"] for wait in quotes[5]["waits"]] == ["pause:feature:report"]
    assert quotes[6]["job_id"] == taken.out.strip()
    assert done.json["quoted"] == 6
    assert done.json["verdicts"] == {"would_run": 2, "would_wait": 1, "would_be_rejected": 2, "would_repeat": 1}
    for total in ("worst_case_usd", "dearest_usd"):
        assert Decimal(done.json[total]) == sum(Decimal(quotes[number][total]) for number in (1, 3, 5))
    assert [str(one) for one in in_database(ops)] == [taken.out.strip()]


def test_people_get_a_line_a_job_and_a_total(headrace: Headrace, ops: Database, tenant: UUID, tmp_path: Path) -> None:
    file = write(tmp_path / "jobs.jsonl", lines_of_all_kinds(ops, tenant))

    done = headrace("jobs", "enqueue", "--file", file, "--tenant", "Acme", "--dry-run")

    assert done.code == 3
    told = [" ".join(row.split()) for row in done.out.splitlines()]
    assert told[0] == "line tier rule model worst case USD verdict"
    assert [row.split()[0] for row in told[1:-1]] == ["1", "3", "4", "5", "6", "8"]
    assert told[1].startswith("1 cheap default openai:gpt-6-luna 0.000") and told[1].endswith(" would run")
    assert " would be rejected: over_budget: the worst case of 0.000" in told[3]
    assert told[4].endswith(" would wait: paused (pause:feature:report)")
    assert told[6].startswith("8 - - - - would be rejected: too_long: is over the cap of 200000 characters")
    assert told[-1].startswith("total worst case 0.0") and told[-1].endswith(
        "(3 would run, 1 would wait, 2 would be rejected)"
    )
    words = [" ".join(row.split()) for row in done.err.splitlines()]
    assert words[0] == "line field reason code" and words[-1] == "6 quoted, 3 refused."
    assert in_database(ops) == {}


def test_a_dry_run_has_the_exit_codes_of_the_real_one(headrace: Headrace, tenant: UUID) -> None:
    def dry(stdin: bytes, *more: str) -> Ran:
        return headrace("jobs", "enqueue", "--file", "-", "--tenant", tenant, "--dry-run", *more, stdin=stdin)

    good, bad, nothing = dry(json.dumps(line()).encode()), dry(b"{\n"), dry(b"\n", "--json")

    assert (good.code, good.err, len(good.out.splitlines())) == (0, "", 3)
    assert (bad.code, bad.out) == (1, "")
    assert (nothing.code, nothing.json["quotes"], nothing.json["worst_case_usd"]) == (0, [], "0")


def test_a_dry_run_that_is_stopped_says_how_far_it_came(headrace: Headrace, tenant: UUID, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("tiers: none\n")
    good = json.dumps(line()).encode() + b"\n"
    arguments = ("jobs", "enqueue", "--file", "-", "--tenant", tenant, "--dry-run", "--json")

    latin = headrace(*arguments, stdin=good * 2 + b"\xe9\n")
    broken = headrace(*arguments, stdin=good, env={"HEADRACE_ROUTING_POLICY": str(policy)})

    assert (latin.code, latin.json["error"]["line"], latin.json["quoted"]) == (2, 3, 0)  # it looks at 2,000 at a time
    assert (broken.code, broken.json["error"]["code"], broken.json["quotes"]) == (2, "configuration", [])


def test_a_dry_run_without_its_redis_takes_every_rate_for_open(headrace: Headrace, ops: Database, tenant: UUID) -> None:
    rated(ops)
    done = headrace(
        "jobs", "enqueue", "--file", "-", "--tenant", tenant, "--dry-run", "--json", stdin=json.dumps(line()).encode(),
        env={"HEADRACE_REDIS_URL": "redis://:geheim@127.0.0.1:1"},
    )  # fmt: skip

    assert (done.code, done.json["quotes"][0]["verdict"]) == (0, "would_run")
    assert "rates.open" in done.err
    assert "geheim" not in done.err + done.out
