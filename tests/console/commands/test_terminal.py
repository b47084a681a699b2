"""What people see: every table of every command at a terminal of 80 and of 120 columns, in a pipe, in ASCII."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from rich.cells import cell_len

from console.commands.prices import REVIEWED
from producers import Client
from storage.db.database import Database
from storage.db.ids import new_id
from tests.console.commands.conftest import BINARY, Headrace, Ran
from tests.support.fleet import Urls
from tests.support.transactions import answered_run, begin_call, claim_job, planned_call, settle_job, succeeded_outcome

ROOT = Path(__file__).parents[3]
NAME = "Zoë’s 中文 Verlag"
USER = "0b9d3c1e-7f52-4e0b-9a64-5f1a2b3c4d5e"
ODD = "eve\x1b[2J\u202e\r\n" + "中" * 20
ODD_SHOWN = "eve�[2J�"
STYLES = re.compile(r"\x1b\[[0-9;]*m")

# The functions that print a table or facts → the command lines that make them do so. {job} and the like are filled in.
TABLES: dict[str, list[str]] = {
    "bulk/run.py:_may": ["jobs cancel --state queued"],
    "commands/billing.py:margin_command": ["billing margin"],
    "commands/billing.py:price_command": ["billing price {tenant}"],
    "commands/billing.py:status_command": ["billing status"],
    "commands/jobs.py:list_command": ["jobs list", "jobs list --state queued"],
    "commands/jobs.py:show_command": ["jobs show {job}", "jobs show {waiting}"],
    "commands/jobs.py:why_command": ["jobs why {job}", "jobs why {waiting}"],
    "commands/limits.py:_print": ["limits show {tenant}", "limits set {tenant} --daily-usd 7"],
    "commands/limits.py:_print_concurrency": [
        "limits set-model openai:gpt-6-luna --concurrent 3",
        "limits models",
        "limits set {tenant} --lane batch --concurrent 2",
    ],
    "commands/limits.py:_print_plans": ["limits plans", "limits set-plan pro --user-share 0.3"],
    "commands/pause.py:_list": ["pause"],
    "commands/producers.py:list_command": ["producers list"],
    "commands/services.py:_show": ["services status"],
    "commands/spend.py:_print": [
        "spend",
        "spend --by tenant --by user --by feature --by provider --by model --chart",
        "spend --by day --chart",
        "spend --by user --chart",
    ],
    "commands/spend.py:estimates_command": ["spend estimates"],
    "commands/spend.py:forecast_command": ["spend forecast"],
    "commands/spend.py:unusual_command": ["spend unusual --since 3"],
    "commands/tenants.py:list_command": ["tenants list"],
    "enqueue_file/report.py:show": ["jobs enqueue --tenant {tenant} --file {refused}"],
    "terminal/price_report.py:tell_changes": ["prices diff --file {table}"],
    "terminal/price_report.py:tell_prices": ["prices list"],
    "terminal/price_report.py:tell_repriced": ["prices reprice --since 2020-01-01 --dry-run"],
}
NOT_HERE = {"demo/closing.py:_table"}  # tests/console/test_demo.py and test_the_demos_first_table… below


def test_every_function_that_prints_a_table_is_looked_at() -> None:
    found = set()
    for file in sorted((ROOT / "console").rglob("*.py")):
        path = file.relative_to(ROOT / "console").as_posix()
        for function in ast.walk(ast.parse(file.read_text("utf-8"))):
            if path == "terminal/output.py" or not isinstance(function, ast.FunctionDef):
                continue
            calls = [
                one.func.id
                for one in ast.walk(function)
                if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
            ]
            if {"print_table", "print_facts"} & {*calls}:
                found.add(f"{path}:{function.name}")

    assert found == TABLES.keys() | NOT_HERE


@pytest.fixture
def filled(
    client: Client,
    app: Database,
    ops: Database,
    urls: Urls,
    tenant: UUID,
    tmp_path: Path,
    in_process: Callable[..., Ran],
) -> dict[str, object]:
    """A database in which every table has rows, with names that are wide, long, or meant to steer a terminal."""
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set name = %s where id = %s", [NAME, tenant])
    chat = {"tenant_id": tenant, "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    job = client.enqueue(user_id=USER, **chat)
    with app.connection() as connection:
        claim_id, planned = new_id(), planned_call()
        assert claim_job(connection, tenant, claim_id=claim_id, worker_id=new_id()) is not None
        begin_call(connection, tenant, job, claim_id, planned)
        run = answered_run(planned.run_id, input_tokens=900, output_tokens=900)
        assert (
            settle_job(connection, tenant, job, claim_id, run, "ended", **succeeded_outcome(planned.run_id)) == "ended"
        )
    waiting = client.enqueue(user_id="eve", **chat)
    today = datetime.now(UTC).date()
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute("update headrace.jobs set user_id = %s where id = %s", [ODD, waiting])
        for days, usd in ((0, "12345.678901"), *((days, "1.5") for days in range(1, 12))):
            owner.execute(
                "insert into headrace.spend_daily (day, tenant_id, user_id, feature, provider, model, calls,"
                " failed_calls, input_tokens, output_tokens, cost_usd, cached_input_tokens, key_owner)"
                " values (%s, %s, %s, 'support_reply', 'anthropic', 'claude-sonnet-5-5', 1234567, 12, 987654321,"
                " 87654321, %s::numeric, 0, 'platform')",
                [today - timedelta(days=days), tenant, ODD, usd],
            )
        owner.execute(
            "insert into headrace.billing_daily (tenant_id, day, calls, input_tokens, output_tokens, platform_usd)"
            " values (%s, %s, 12, 1000, 1000, 12345.678901)",
            [tenant, today - timedelta(days=2)],
        )
    refused = tmp_path / "refused.jsonl"
    refused.write_text('{"user_id": "ada", "feature": "nope", "messages": [{"role": "user", "content": "Hi"}]}\nno\n')
    table = tmp_path / "prices.csv"
    table.write_text(
        REVIEWED.read_text("utf-8").replace("openai,gpt-6-luna,2020-01-01,0.1,", "openai,gpt-6-luna,2020-01-01,0.09,")
    )
    for command in (
        f"billing price {tenant} --cost-factor 1.25",
        f"billing customer {tenant} cus_1234567890abcdef",
        f"producers bind headrace_producer --tenant {tenant}",
        f"pause --tenant {tenant}",
    ):
        assert in_process(*command.split()).code == 0
    return {"tenant": tenant, "job": job, "waiting": waiting, "refused": refused, "table": table}


def words(text: str) -> list[str]:
    return STYLES.sub("", text).split()


def test_nothing_is_broken_or_cut_at_80_and_120_columns_and_nothing_at_all_in_a_pipe(
    filled: dict[str, object], in_process: Callable[..., Ran], subtests: pytest.Subtests
) -> None:
    for command in [one for commands in TABLES.values() for one in commands]:
        line = command.format(**filled).split()
        with subtests.test(command=command):
            piped = in_process(*line)
            assert piped.code in (0, 1, 2) and "Traceback" not in piped.err
            everything = piped.out or piped.err
            assert words(everything)
            unbroken = {
                word
                for word in words(everything)
                if "forecast" not in command  # its pace is that of the moment
                and re.fullmatch(r"[0-9a-f-]{36}|\$?-?\d+\.\d{2,}|\d{4}-\d\d-\d\d|cus_\w+", word)
            }
            for columns in (80, 120):
                done = in_process(*line, columns=columns)
                assert done.code == piped.code, done.err
                told = STYLES.sub("", done.out + done.err)
                assert "\x1b" not in told and "\r" not in told and "\u202e" not in told
                assert max(map(cell_len, told.splitlines())) <= columns
                # what a narrow terminal leaves out, it names; the rest is whole
                if "left out for the width" not in told:
                    assert unbroken <= {*words(told)}
                assert str(filled["job"]) in told or str(filled["job"]) not in everything


def test_a_pipe_gets_one_line_a_row_however_long(filled: dict[str, object], in_process: Callable[..., Ran]) -> None:
    rows = in_process("jobs", "list").out.splitlines()
    facts = in_process("jobs", "show", filled["waiting"]).out.splitlines()

    assert len(rows) == 2 + 2
    assert USER in rows[3] and NAME in rows[3] and ODD_SHOWN in rows[2]
    (user,) = [one for one in facts if one.startswith("user_id")]
    assert user.split(maxsplit=1)[1] == f"{ODD_SHOWN}�" + " " + "中" * 20


def test_a_quote_goes_on_below_where_it_does_not_fit(
    filled: dict[str, object], in_process: Callable[..., Ran], tmp_path: Path
) -> None:
    file = tmp_path / "quoted.jsonl"
    file.write_text('{"user_id": "ada", "feature": "chat", "messages": [{"role": "user", "content": "Hi"}]}\n')
    line = ("jobs", "enqueue", "--tenant", filled["tenant"], "--file", file, "--dry-run")

    piped, narrow = in_process(*line), in_process(*line, columns=80)

    assert len(piped.out.splitlines()) == 3
    assert words(narrow.out) == words(piped.out)
    assert max(map(cell_len, narrow.out.splitlines())) <= 80
    assert re.search(r"openai:gpt-6-luna +0\.\d{6}", narrow.out)


def test_a_narrow_list_names_what_it_leaves_out(filled: dict[str, object], in_process: Callable[..., Ran]) -> None:
    tenants = in_process("tenants", "list", columns=80)
    cards = in_process("jobs", "list", columns=80)

    assert "left out for the width of this terminal: created (UTC)" in STYLES.sub("", tenants.err)
    assert str(filled["tenant"]) in tenants.out and "50" in tenants.out
    # a user's id of 36 digits beside the job's leaves no room: cards, with every figure
    assert f"user           {USER}" in STYLES.sub("", cards.out)
    assert not cards.err


def test_the_demos_first_table_shows_its_figures_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from decimal import Decimal

    from console.demo import closing
    from console.terminal import output

    monkeypatch.setattr(output, "width", lambda *, to_error=False: 80)
    title, _, columns = closing._tables("Brightdesk Support")[0]
    row = {
        "tenant": "Brightdesk Support", "plan": "enterprise", "jobs": 128, "succeeded": 100, "stopped_by_cap": 28,
        "other": 0, "wait_p50_s": 12.25, "wait_p95_s": 14.5,
        "cost_usd": Decimal("0.069998"), "cap_usd": Decimal("0.07"),
    }  # fmt: skip
    closing._table(output.screen(markup=True), title, columns, [row] * 3)

    out = capsys.readouterr().out
    for figure in ("128", "100", "28", "12.25 s", "14.50 s", "$0.069998", "$0.07"):
        assert len(re.findall(rf"{re.escape(figure)}(?:\s|$)", out)) >= 3
    assert max(map(cell_len, out.splitlines())) <= 80


def test_what_is_not_there_is_said_not_drawn_as_an_empty_table(in_process: Callable[..., Ran], tenant: UUID) -> None:
    model = in_process("limits", "set-model", "openai:gpt-6-luna", "--concurrent", "none")
    models = in_process("limits", "models")
    lane = in_process("limits", "set", tenant, "--lane", "batch", "--concurrent", "none")

    assert model.out == "openai:gpt-6-luna: no limit of calls at once\n"
    assert models.out == "no model has a limit of calls at once\n"
    assert lane.out == "Acme, lane batch: no limit of jobs at once\n"


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_an_ascii_terminal_gets_what_it_can_show(
    headrace: Headrace, ops: Database, tenant: UUID, locale: dict[str, str | None]
) -> None:
    with ops.connection() as connection:
        connection.execute("update headrace.tenants set name = %s where id = %s", [NAME, tenant])

    listed = headrace("tenants", "list", env=locale)
    helped = headrace("tenants", "--help", env=locale)

    assert (listed.code, listed.err, helped.code) == (0, "", 0)
    assert "Zo?" in listed.out and str(tenant) in listed.out
    assert listed.out.isascii() and helped.out.isascii()


def test_arguments_that_are_not_utf8_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    def run(*arguments: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [os.fsencode(BINARY), *arguments],
            env=environment | {"PYTHONUTF8": "1"},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )

    name = run(b"tenants", b"add", b"\xff\xfe")
    file = run(b"jobs", b"enqueue", b"--file", b"\xff.jsonl")

    assert (name.returncode, file.returncode) == (2, 2)
    assert name.stderr == b"error: argument: is not UTF-8 (got '\\udcff\\udcfe') [invalid_input]\n"
    assert b"cannot be read: no such file" in file.stderr


def test_a_reader_that_goes_away_is_no_failure(
    environment: dict[str, str], tmp_path: Path, client: Client, tenant: UUID
) -> None:
    with subprocess.Popen(
        [BINARY, "prices", "list"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(60) in (0, 1, 141)
    assert b"Traceback" not in told and b"Exception ignored" not in told
