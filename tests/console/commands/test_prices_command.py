"""``headrace prices``: what is reviewed, what is in force, and repriced history."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from console.commands.prices import REVIEWED, instant
from errors import InvalidInputError
from storage.db.database import Database
from storage.db.ids import new_id
from storage.money import prices
from storage.money.prices import BY_HAND, Price
from tests.conftest import new_tenant
from tests.console.commands.conftest import Headrace
from tests.support.audit import check_books
from tests.support.transactions import (
    answered_run,
    begin_call,
    claim_job,
    enqueue_job,
    planned_call,
    settle_job,
    succeeded_outcome,
)

ROOT = Path(__file__).parents[3]
ME = pwd.getpwuid(os.getuid()).pw_name
LUNA = ("openai", "gpt-6-luna")
NO_SERVICE: dict[str, str | None] = {
    f"HEADRACE_{name}": None for name in ("DATABASE_URL", "OPS_DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL")
}


# ---------------------------------------------------------------------------------------------------------- the file


def test_the_shipped_table_has_not_drifted_and_no_service_is_needed(headrace: Headrace, tmp_path: Path) -> None:
    done = headrace("prices", "diff", env=NO_SERVICE)

    assert (done.code, done.out, done.err) == (0, "No drift.\n", "")
    assert headrace("prices", "diff", "--json", env=NO_SERVICE).json == {"changes": [], "by_hand": []}
    assert list(tmp_path.iterdir()) == [], "nothing was started"


def test_drift_is_shown_and_fails_until_it_is_taken_over(headrace: Headrace, tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    reviewed = REVIEWED.read_text("utf-8")
    lines = [line for line in reviewed.splitlines(keepends=True) if not line.startswith("anthropic,claude-haiku")]
    table.write_text("".join(lines).replace("openai,gpt-6-luna,2020-01-01,0.1,", "openai,gpt-6-luna,2020-01-01,0.09,"))

    shown = headrace("prices", "diff", "--file", table)
    told = headrace("prices", "diff", "--file", table, "--json")
    written = headrace("prices", "diff", "--file", table, "--write")

    assert (shown.code, told.code, written.code) == (1, 1, 0)
    words = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "openai gpt-6-luna 2020-01-01 00:00:00 changed rate input 0.09 0.1" in words
    assert "anthropic claude-haiku-5-5 2026-10-14 00:00:00 new model batch discount 0 0.5" in words
    assert "--write" in shown.err
    assert [(one["model"], one["kind"]) for one in told.json["changes"]] == [
        ("claude-haiku-5-5", "new model"),
        ("claude-haiku-5-5", "new model"),
        ("gpt-6-luna", "changed rate"),
    ]
    assert told.json["changes"][2]["rates"] == {"input_usd": {"before": "0.09", "after": "0.1"}}
    assert table.read_text("utf-8") == reviewed
    assert headrace("prices", "diff", "--file", table).code == 0


def test_a_table_of_ones_own_is_of_ones_own_policy(headrace: Headrace, tmp_path: Path) -> None:
    policy = _policy(tmp_path, cheap="gpt-6.1-sol")
    table = tmp_path / "mine.csv"
    own = {"HEADRACE_ROUTING_POLICY": str(policy)}

    missing = headrace("prices", "diff", "--file", table, "--json", env=own)
    written = headrace("prices", "diff", "--file", table, "--write", env=own)

    assert (missing.code, missing.json["error"]["field"]) == (2, "file")
    assert (written.code, "gpt-6-luna" in table.read_text("utf-8")) == (0, False)
    assert headrace("prices", "diff", "--file", table, env=own).code == 0
    assert headrace("prices", "diff", env=own).code == 0, "the shipped table is of the shipped policy"


def test_what_is_no_table_is_refused(headrace: Headrace, tmp_path: Path) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("a,b\n1,2\n")

    assert headrace("prices", "diff", "--file", table, "--json").json["error"]["field"] == "line 1"
    both = headrace("prices", "diff", "--database", "--write", "--json")
    assert (both.code, both.json["error"]["field"]) == (2, "database")


def _policy(directory: Path, *, cheap: str) -> Path:
    policy = yaml.safe_load((ROOT / "router" / "policy.yaml").read_text("utf-8"))
    policy["tiers"]["cheap"]["primary"]["model"] = cheap
    file = directory / "policy.yaml"
    file.write_text(yaml.safe_dump(policy))
    return file


# ------------------------------------------------------------------------------------------------------ the database


def test_list_has_every_row_with_its_date_and_which_is_in_force(headrace: Headrace) -> None:
    listed = headrace("prices", "list", "--json").json["prices"]
    shown = headrace("prices", "list", "--model", "gpt-6-luna")

    luna = [one for one in listed if one["model"] == "gpt-6-luna"]
    assert [(one["effective_from"][:10], one["in_force"], one["batch_discount"]) for one in luna] == [
        ("2020-01-01", False, "0"),
        ("2026-10-14", True, "0.5"),
    ]
    assert (luna[0]["input_usd"], luna[0]["long_from"], luna[0]["long_output_usd"]) == ("0.1", 272_000, "0.75")
    assert len({one["model"] for one in listed}) == 4
    words = [line.split() for line in shown.out.splitlines()]
    assert words[-2][:6] == ["openai", "gpt-6-luna", "2026-10-14", "00:00:00", "yes", "0.1"]
    assert words[-1] == ["USD", "per", "million", "tokens"]
    assert "claude" not in shown.out


def test_sync_adds_what_has_drifted_and_only_looks_when_told_to(headrace: Headrace, ops: Database) -> None:
    with ops.connection() as connection:
        wrong = Price(*LUNA, prices.moment(connection) - timedelta(minutes=1), Decimal(7), Decimal(8))
        prices.add(connection, wrong)

    seen = headrace("prices", "diff", "--database", "--json")
    looked = headrace("prices", "sync", "--dry-run")
    told = headrace("prices", "sync", "--json")
    again = headrace("prices", "sync")

    assert (seen.code, looked.code, told.code, again.code) == (1, 0, 0, 0)
    (change,) = told.json["changes"]
    assert (change["model"], change["kind"], told.json["dry_run"]) == ("gpt-6-luna", "changed rate", False)
    assert change["rates"]["input_usd"] == {"before": "7", "after": "0.1"}
    assert [one["kind"] for one in seen.json["changes"]] == ["changed rate"]
    assert looked.out.endswith("1 new price rows: none was added.\n")
    assert again.out == "Prices were up to date.\n"
    assert headrace("prices", "diff", "--database").out == "No drift.\n"


def test_a_private_model_is_priced_by_hand_and_left_alone(headrace: Headrace, ops: Database, tmp_path: Path) -> None:
    own: dict[str, str | None] = {"HEADRACE_ROUTING_POLICY": str(_policy(tmp_path, cheap="our-own"))}

    refused = headrace("migrate", "--json", env=own)
    added = headrace(
        "prices", "add", "openai", "our-own", "--input", "0.20", "--output", "0.8", "--cached-input", "0.02",
        "--cache-write", "0.25", "--long-from", 1000, "--long-input", "0.4", "--long-output", "1", "--batch-discount",
        "0.5", "--from", "2026-03-01", env=own,
    )  # fmt: skip

    assert (refused.code, refused.json["error"]["code"]) == (2, "unpriced_model")
    assert "headrace prices add" in refused.json["error"]["hint"]
    assert (added.code, added.out, added.err) == (0, "openai:our-own from 2026-03-01T00:00:00+00:00\n", "")
    assert headrace("migrate", env=own).code == 0
    for words in (("sync",), ("diff", "--database")):
        done = headrace("prices", *words, env=own)
        assert (done.code, "left alone, priced by hand: openai:our-own" in done.out) == (0, True)
    with ops.connection() as connection:
        (row,) = prices.list_prices(connection, "our-own")
        audit = connection.execute("select actor, action, target, before from headrace.audit").fetchall()
    assert row == Price(
        "openai", "our-own", datetime(2026, 3, 1, tzinfo=UTC), Decimal("0.2"), Decimal("0.8"),
        cached_input_usd=Decimal("0.02"), cache_write_usd=Decimal("0.25"), long_from=1000,
        long_input_usd=Decimal("0.4"), long_output_usd=Decimal(1), batch_discount=Decimal("0.5"), source=BY_HAND,
    )  # fmt: skip
    assert audit == [{"actor": ME, "action": "price.add", "target": "openai:our-own", "before": None}]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--input", "-1", "--output", "2"], "input"),
        (["--input", "1", "--output", "1e3"], "output"),
        (["--input", "1", "--output", "2", "--long-from", "5"], "long_from"),
        (["--input", "1", "--output", "2", "--long-from", "5", "--long-input", "3"], "long_from"),
        (["--input", "1", "--output", "2", "--long-cache-write", "3"], "long_from"),
        (["--input", "1", "--output", "2", "--batch-discount", "1"], "price"),
        (["--input", "1", "--output", "2", "--batch-discount", "50"], "batch_discount"),
        (["--input", "1", "--output", "2", "--from", "yesterday"], "from"),
        (["--input", "1", "--output", "2", "--from", "2026-10-14"], "from"),  # there is a row of that date
    ],
)
def test_what_is_no_price_is_refused_with_its_field(headrace: Headrace, options: list[str], field: str) -> None:
    done = headrace("prices", "add", *LUNA, *options, "--json")

    assert (done.code, done.json["error"]["code"], done.json["error"]["field"]) == (2, "invalid_input", field)


def test_from_now_on_is_the_databases_now(headrace: Headrace, ops: Database) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    document = headrace("prices", "add", *LUNA, "--input", "1", "--output", "2", "--json").json

    assert before < datetime.fromisoformat(document["effective_from"]) < datetime.now(UTC) + timedelta(seconds=1)
    assert (document["input_usd"], document["long_from"], document["batch_discount"]) == ("1", None, "0")


# --------------------------------------------------------------------------------------------------------- history


@pytest.fixture
def called(app: Database, ops: Database, tenant: UUID) -> UUID:
    """One call each of two tenants, 1,000 tokens in and out; returns the second tenant."""
    bee = new_tenant(ops, "Bee")
    for whose in (tenant, bee):
        with app.connection() as connection:
            job, claim, planned = enqueue_job(connection, whose), new_id(), planned_call()
            claim_job(connection, whose, claim_id=claim, worker_id=new_id())
            assert begin_call(connection, whose, job, claim, planned).verdict == "granted"
            settle_job(
                connection,
                whose,
                job,
                claim,
                answered_run(planned.run_id, 1_000, 1_000),
                "ended",
                **succeeded_outcome(planned.run_id),
            )
    return bee


def test_reprice_applies_a_correction_and_the_audit_finds_no_breach(
    headrace: Headrace, ops: Database, tenant: UUID, called: UUID
) -> None:
    headrace("prices", "add", *LUNA, "--input", "0.1", "--output", "0.4", "--from", "2026-10-15")
    since = ("--since", "2026-10-15")

    looked = headrace("prices", "reprice", *since, "--dry-run", "--json").json
    first = headrace("prices", "reprice", *since, "--tenant", "Acme", "--reason", "an invoice", "--json").json
    second = headrace("prices", "reprice", *since, "--model", "gpt-6-luna", "--reason", "an invoice")
    third = headrace("prices", "reprice", *since, "--reason", "an invoice")

    total = {name: Decimal(value) for name, value in looked["total"].items()}
    assert total == {"runs": 2, "before_usd": Decimal("0.0012"), "after_usd": Decimal("0.001")}
    assert [(one["tenant"], one["runs"]) for one in looked["tenants"]] == [("Acme", 1), ("Bee", 1)]
    (mine,) = first["tenants"]
    assert (mine["tenant_id"], mine["runs"], first["dry_run"]) == (str(tenant), 1, False)
    assert (Decimal(mine["before_usd"]), Decimal(mine["after_usd"])) == (Decimal("0.0006"), Decimal("0.0005"))
    words = [line.split() for line in second.out.splitlines()]
    assert words[2] == ["Bee", "1", "0.000600", "0.000500", "-0.000100"]
    assert second.out.splitlines()[-1].startswith("1 runs repriced (2026-10-15 00:00:00 to ")
    assert third.out.startswith("0 runs repriced")
    with ops.connection() as connection:
        audit = connection.execute(
            "select actor, tenant_id, after ->> 'reason' as reason from headrace.audit where action = 'run.reprice'"
        ).fetchall()
    assert [tuple(one.values()) for one in audit] == [(ME, tenant, "an invoice"), (ME, called, "an invoice")]
    check_books(ops, None)
    doctor = headrace("doctor", "--audit", "--json")
    assert (doctor.code, doctor.json["ok"]) == (0, True), doctor.out


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--since", "2026-10-15"], "reason"),
        (["--since", "2026-10-15", "--reason", " "], "reason"),
        (["--since", "soon", "--dry-run"], "since"),
        (["--since", "2026-10-15", "--until", "2026-10-14", "--dry-run"], "since"),
        (["--since", "2026-10-15", "--until", "x", "--dry-run"], "until"),
        (["--since", "2026-10-15", "--tenant", "Nobody", "--dry-run"], "tenant"),
    ],
)
def test_what_cannot_be_priced_anew_is_refused(headrace: Headrace, options: list[str], field: str) -> None:
    done = headrace("prices", "reprice", *options, "--json")

    assert (done.code, done.json["error"]["field"]) == (2, field)


@pytest.mark.parametrize(
    ("text", "end_of_day", "at"),
    [
        ("2026-01-31", False, datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31", True, datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-01-31T09:30", True, datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T09:30:00+02:00", False, datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_is_a_date_or_more(text: str, end_of_day: bool, at: datetime) -> None:
    assert instant(text, field="since", end_of_day=end_of_day) == at


@pytest.mark.parametrize("text", ["", "now", "7", "2026-02-30", "31.01.2026", "9999-12-31", "20260131T99"])
def test_an_instant_is_nothing_else(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        instant(text, field="until", end_of_day=True)
    assert refused.value.field == "until"


# ---------------------------------------------------------------------------------------------------------------- CI


def workflow(name: str) -> dict[Any, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8")))


def test_every_change_and_every_week_the_table_is_compared() -> None:
    """The lint that CI runs compares; each week a run with the newest package that we allow does."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lint = makefile[makefile.index("\nlint:") : makefile.index("\nformat:")]
    test = re.search(r"^test: (.*?) ##", makefile, re.MULTILINE)
    steps = [step.get("run", "") for step in workflow("ci.yml")["jobs"]["test"]["steps"]]
    weekly = workflow("prices.yml")

    assert "headrace prices diff\n" in lint
    assert test is not None
    assert "lint" in test[1].split()
    assert "make test" in steps
    assert len(weekly[True]["schedule"]) == 1, "`on` is YAML's true"
    runs = [step["run"] for step in weekly["jobs"]["drift"]["steps"] if "run" in step]
    assert runs[0] == "make setup"
    assert runs[-1] == ".venv/bin/headrace prices diff"


def test_the_weekly_run_installs_what_the_project_allows() -> None:
    runs = [step["run"] for step in workflow("prices.yml")["jobs"]["drift"]["steps"] if "run" in step]
    (install,) = [run for run in runs if "pip install" in run]
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    (wanted,) = [one for one in allowed if one.startswith("genai-prices")]
    bash = shutil.which("bash")
    assert bash is not None

    # the same line with `echo` in the place of the interpreter
    said = subprocess.run(
        [bash, "-ec", install.replace(".venv/bin/python", "echo")], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    assert said.returncode == 0, said.stderr
    assert said.stdout.split()[-1] == wanted
    assert "--upgrade" in said.stdout
