"""``headrace doctor``: what is wrong is found, named, and comes with what to do."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis

from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import chores, schedulers, workers
from tests.conftest import new_tenant
from tests.console.commands.conftest import ANTHROPIC_KEY, OPENAI_KEY, Headrace
from tests.support.fleet import Fleet, Urls, eventually
from workers.scheduler import Scheduler

NEVER_SILENT = {"HEADRACE_WORKER_SILENT_S": "600"}  # however slow this machine is
HI = [{"role": "user", "content": "Hi"}]
POLICY = """
tiers:
  cheap: {primary: {provider: openai, model: gpt-of-tomorrow}}
  strong: {primary: {provider: anthropic, model: claude-sonnet-5-5}}
"""


def findings(document: dict[str, Any], verdict: str) -> dict[str, str]:
    """Of one verdict: part → what is said and what to do."""
    return {one["part"]: f"{one['says']} → {one['to_do']}" for one in document["findings"] if one["verdict"] == verdict}


def test_all_is_well(headrace: Headrace, ops: Database, scheduler: Scheduler, tenant: UUID, client: Client) -> None:
    client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI)
    with ops.connection() as connection:
        workers.heartbeat(connection, new_id(), host="here", pid=1, threads=8)

    document, shown = headrace("doctor", "--json", env=NEVER_SILENT), headrace("doctor", env=NEVER_SILENT)

    assert document.code == shown.code == 0
    assert document.json["ok"] is True
    fine = findings(document.json, "ok")
    assert fine.keys() >= {
        "database (app)", "database (ops)", "database (owner)", "migrations", "prices", "clock", "jobs", "workers",
        "scheduler", "wire", "provider openai", "provider anthropic", "tier cheap", "tier strong",
    }  # fmt: skip
    assert "PostgreSQL 18" in fine["database (app)"]
    assert "as headrace_app" in fine["database (app)"]
    assert fine["jobs"].startswith("1 queued, the oldest for ")
    assert fine["workers"].startswith("1 process, 8 threads, 0 jobs")
    assert "noeviction" in fine["wire"]
    assert "it took an offer and gave a turn" in fine["wire"]
    assert shown.err == ""
    for secret in (OPENAI_KEY, ANTHROPIC_KEY):
        assert secret not in document.out + shown.out
    with ops.connection() as connection:
        assert connection.execute("select count(*) as n from headrace.wakes").fetchone() == {"n": 0}


def test_a_chore_that_fails_is_named(headrace: Headrace, ops: Database, scheduler: Scheduler) -> None:
    with ops.connection() as connection:
        chores.get_through(connection, {"expire": 1.0, "sweep": 1.0, "unusual": 3600.0})
        chores.fail(connection, "sweep", every_s=1.0, error=ValueError("a bug\nwith somebody's text below"))
        connection.execute("update headrace.chores set done_at = done_at - interval '2 hours' where name <> 'sweep'")

    done = headrace("doctor", "--json")

    wrong = findings(done.json, "wrong")["chores"]
    assert done.code == 1
    assert re.search(r"expire last finished 72\d\d s ago", wrong)
    assert re.search(r"sweep failed \d+ s ago with ValueError: a bug", wrong)
    assert "unusual" not in wrong, "an hourly chore has three hours"
    assert "text" not in wrong


def test_a_table_that_is_behind_its_rule_is_wrong(
    headrace: Headrace, ops: Database, urls: Urls, tenant: UUID, client: Client
) -> None:
    client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI, idempotency_key="k")
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("update headrace.idempotency set created_at = now() - interval '32 days'")

    done = headrace("doctor", "--json")

    assert "idempotency has rows of 32.0 days, and its retention is 30" in findings(done.json, "wrong")["retention"]
    assert "the oldest job is 0 days old" in findings(done.json, "ok")["books"]


def test_what_was_set_aside_is_named(
    headrace: Headrace, ops: Database, scheduler: Scheduler, tenant: UUID, client: Client
) -> None:
    job = client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI)
    with ops.connection() as connection:
        for what in (job, new_id()):  # the second has ended meanwhile, so nothing is wrong with it any more
            connection.execute("select headrace.put_aside('expire', %s, %s, 'a broken row', '22003')", [tenant, what])

    done = headrace("doctor", "--json")

    wrong = [one["says"] for one in done.json["findings"] if one["part"] == "set aside"]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"expire skips job {job} of tenant {tenant} since ")
    assert wrong[0].endswith(": a broken row")
    assert done.code == 1


def test_nobody_at_work_is_a_note_and_wrong_only_where_jobs_wait(
    headrace: Headrace, ops: Database, tenant: UUID, client: Client
) -> None:
    idle = headrace("doctor", "--json")
    client.enqueue(tenant_id=tenant, user_id="ada", feature="chat", messages=HI)
    waiting = headrace("doctor")

    assert idle.code == 0
    assert findings(idle.json, "note").keys() == {"workers", "scheduler"}
    assert waiting.code == 1
    assert "wrong workers: none is alive\n      → Start one: `headrace worker`." in waiting.out
    assert "wrong scheduler: none answered the note" in waiting.out
    with ops.connection() as connection:
        assert connection.execute("select count(*) as n from headrace.wakes").fetchone() == {"n": 0}, "it takes it back"


def test_services_that_are_away_are_named_and_their_passwords_are_not(headrace: Headrace) -> None:
    away = {
        "HEADRACE_DATABASE_URL": "postgresql://headrace_app:ge/h@eim@127.0.0.1:1/x",
        "HEADRACE_OPS_DATABASE_URL": "postgresql://headrace_ops:geheim@127.0.0.1:1/x",
        "HEADRACE_OWNER_DATABASE_URL": None,
        "HEADRACE_REDIS_URL": "redis://me:geheim@127.0.0.1:1/0",
    }

    done = headrace("doctor", "--json", env=away)

    assert (done.code, done.json["ok"]) == (1, False)
    wrong = findings(done.json, "wrong")
    assert wrong.keys() == {"database (app)", "database (ops)", "wire"}
    assert "[postgres_unavailable]" in wrong["database (ops)"]
    assert "postgresql://headrace_ops:***@127.0.0.1:1/x" in wrong["database (ops)"]
    assert "redis://me:***@127.0.0.1:1/0" in wrong["wire"]
    assert "geheim" not in done.out + done.err
    assert "ge/h" not in done.out + done.err


def test_a_variable_that_is_not_a_setting_is_named(headrace: Headrace) -> None:
    typo = {"HEADRACE_CALL_TIMEOUTS": "5", "HEADRACE_FLUX": "x"}

    notes = [one for one in headrace("doctor", "--json", env=typo).json["findings"] if one["part"] == "settings"]

    says = "is not a setting, and nothing reads it"
    assert [(one["verdict"], one["says"]) for one in notes] == [
        ("note", f"HEADRACE_CALL_TIMEOUTS {says}"),
        ("note", f"HEADRACE_FLUX {says}"),
    ]
    assert notes[0]["to_do"] == "Did you mean HEADRACE_CALL_TIMEOUT_S?"
    assert "settings.md" in notes[1]["to_do"]


def test_roles_that_would_break_isolation_are_wrong(headrace: Headrace, urls: Urls, scheduler: Scheduler) -> None:
    superuser = findings(headrace("doctor", "--json", env={"HEADRACE_DATABASE_URL": urls.owner}).json, "wrong")
    swapped = findings(
        headrace(
            "doctor", "--json", env={"HEADRACE_DATABASE_URL": urls.ops, "HEADRACE_OPS_DATABASE_URL": urls.app}
        ).json,
        "wrong",
    )

    assert "is a superuser" in superuser["database (app)"]
    assert "logs in as headrace_ops, not as headrace_app" in swapped["database (app)"]
    assert "logs in as headrace_app, not as headrace_ops" in swapped["database (ops)"]


def test_a_database_of_an_earlier_release_is_to_be_migrated(headrace: Headrace, urls: Urls) -> None:
    with Database(urls.owner) as owner, owner.connection() as connection:
        connection.execute("delete from headrace.schema_migrations where name = '0014_chunks.sql'")

    done = headrace("doctor", "--json")

    assert done.code == 1
    assert findings(done.json, "wrong") == {"migrations": "pending: 0014_chunks.sql → Run `headrace migrate`."}


def test_a_model_without_a_price_and_a_tier_without_a_key_are_wrong(
    headrace: Headrace, scheduler: Scheduler, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    done = headrace("doctor", "--json", env={"HEADRACE_ROUTING_POLICY": str(policy), "ANTHROPIC_API_KEY": None})

    assert done.code == 1
    wrong = findings(done.json, "wrong")
    assert wrong.keys() == {"prices", "tier strong"}
    assert "openai:gpt-of-tomorrow" in wrong["prices"]
    assert "none has a key" in wrong["tier strong"]


def test_a_policy_that_cannot_be_read_is_wrong_and_the_rest_is_looked_at(headrace: Headrace) -> None:
    done = headrace("doctor", "--json", env={"HEADRACE_ROUTING_POLICY": "/nowhere.yaml"})

    assert done.code == 1
    assert "/nowhere.yaml" in findings(done.json, "wrong")["providers"]
    assert "wire" in findings(done.json, "ok")


@pytest.fixture
def forgetful(urls: Urls):
    with redis.Redis.from_url(urls.redis) as server:
        server.config_set("maxmemory-policy", "allkeys-lru")
        yield
        server.config_set("maxmemory-policy", "noeviction")


def test_a_wire_that_forgets_is_wrong(headrace: Headrace, scheduler: Scheduler, forgetful: None) -> None:
    done = headrace("doctor", "--json")

    assert done.code == 1
    assert "allkeys-lru" in findings(done.json, "wrong")["wire"]


def test_what_is_paused_is_worth_knowing(headrace: Headrace, scheduler: Scheduler, tenant: UUID) -> None:
    headrace("pause", "--lane", "batch")
    headrace("pause", "--tenant", "Acme")

    found = {one["part"]: one for one in headrace("doctor", "--json").json["findings"]}

    assert found["pauses"]["verdict"] == "note"
    assert re.search(r"lane batch since .*, tenant Acme since", found["pauses"]["says"])
    assert "`headrace resume --lane batch`" in found["pauses"]["to_do"]


# ------------------------------------------------------------------------------------ what the others say of themselves


def seen_by(ops: Database, providers: dict[str, Any] | None) -> None:
    """A live worker, and what it says of its providers."""
    with ops.connection() as connection:
        workers.heartbeat(connection, new_id(), host="here", pid=1, threads=8, providers=providers)


def told(breaker: str = "closed", again_in_s: float = 0.0, limited_s: float = 0.0) -> dict[str, Any]:
    return {"breaker": breaker, "again_in_s": again_in_s, "limited_s": limited_s, "tenants": 0}


def test_an_outage_of_both_providers_is_trouble(
    headrace: Headrace, ops: Database, fleet: Fleet, client: Client, tenant: UUID
) -> None:
    other = new_tenant(ops, "Globex")
    fleet.simulator(openai={"fault": "auth"}, anthropic={"fault": "529"})
    fleet.worker(HEADRACE_BREAKER_FAIL_MAX="2", HEADRACE_BREAKER_RESET_S="60")
    fleet.start("scheduler", "console.processes.scheduler")
    for whose in (tenant, other) * 3:
        client.enqueue(tenant_id=whose, user_id="ada", feature="chat", messages=HI)

    def both_are_shut() -> bool:
        with ops.connection() as connection:
            said = [one["providers"] for one in workers.alive(connection, 60)]
        return all(one[name]["breaker"] == "open" for one in said for name in ("openai", "anthropic"))

    eventually(both_are_shut, why="the worker leaves both alone, and says so")
    environment = {name: value for name, value in fleet.env.items() if name not in ("PATH", "HOME")}
    done = headrace("doctor", "--json", env=environment | NEVER_SILENT)

    wrong = findings(done.json, "wrong")
    assert done.code == 1
    assert wrong.keys() >= {"provider openai", "provider anthropic", "tier cheap", "tier strong"}
    assert "none of them answers now" in wrong["tier cheap"]
    assert "1 of 1 workers have a key" in wrong["provider openai"]
    assert "failed for a fault of its own, most often provider_auth" in wrong["provider openai"]
    assert "the breaker is open in 1 of 1 workers" in wrong["provider openai"]
    assert "set OPENAI_API_KEY to a valid key" in wrong["provider openai"]
    assert "most often provider_unavailable" in wrong["provider anthropic"]
    assert "see its status page" in wrong["provider anthropic"]
    (held,) = [one for one in done.json["findings"] if one["part"] == "held jobs"]
    assert re.match(r"\d+ jobs? waits? for providers that are away or refuse our account", held["says"])


def test_keys_are_told_by_the_workers_and_nothing_contradicts_itself(
    headrace: Headrace, ops: Database, scheduler: Scheduler
) -> None:
    bases = ("HEADRACE_OPENAI_BASE_URL", "HEADRACE_ANTHROPIC_BASE_URL")
    no_keys = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", *bases)) | NEVER_SILENT
    nobody = headrace("doctor", "--json", env=no_keys)
    of_keys = [one for one in nobody.json["findings"] if re.search(r"\bkey\b", one["says"])]
    assert nobody.code == 1
    assert [one["verdict"] for one in of_keys] == ["wrong"], "one line"

    seen_by(ops, {"openai": told(), "anthropic": told()})
    whole = headrace("doctor", "--json", env=no_keys)
    assert whole.code == 0, "this shell needs no key where the workers have theirs"
    assert findings(whole.json, "ok")["provider openai"].startswith("1 of 1 workers have a key; no call has ended")

    seen_by(ops, {"openai": told("open", again_in_s=4.0)})
    half = headrace("doctor", "--json", env=no_keys)
    assert half.code == 1
    assert "1 of 2 workers have a key" in findings(half.json, "ok")["provider anthropic"]
    assert "the breaker is open in 1 of 2 workers" in findings(half.json, "wrong")["provider openai"]


def test_a_breaker_that_would_let_a_call_through_and_a_rate_limit_are_worth_knowing(
    headrace: Headrace, ops: Database, scheduler: Scheduler
) -> None:
    seen_by(ops, {"openai": told("open"), "anthropic": told(limited_s=30)})

    done = headrace("doctor", "--json", env=NEVER_SILENT)

    notes = findings(done.json, "note")
    assert done.code == 0
    assert "the next call tries" in notes["provider openai"]
    assert "asked for a pause, which lasts 30 s more" in notes["provider anthropic"]


def test_workers_without_a_scheduler_are_trouble_and_a_lost_one_is_named(
    headrace: Headrace, ops: Database, fleet: Fleet
) -> None:
    seen_by(ops, None)
    never = headrace("doctor", "--json", env=NEVER_SILENT)
    process = fleet.start("scheduler", "console.processes.scheduler")
    eventually(lambda: listed(ops), why="its heart beats")
    fine = headrace("doctor", "--json")
    fleet.end("scheduler", with_signal=signal.SIGKILL)
    eventually(lambda: listed(ops)[0].silent_s > 1, why="it is silent")
    lost = headrace("doctor", "--json", env={"HEADRACE_WORKER_SILENT_S": "1"})

    assert never.code == 1
    assert "Start one: `headrace scheduler`." in findings(never.json, "wrong")["scheduler"]
    assert findings(fine.json, "ok")["scheduler"].startswith("1 alive, and one answered the note that was left for it")
    assert lost.code == 1
    assert f":{process.pid}, was last heard from " in findings(lost.json, "wrong")["scheduler"]


def listed(ops: Database) -> list[schedulers.SchedulerProcess]:
    with ops.connection() as connection:
        return schedulers.list_schedulers(connection)
