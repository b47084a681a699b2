"""The docs say what is true: links lead somewhere, code compiles, tables are in step with what they describe."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import typer
from psycopg.conninfo import make_conninfo
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

import errors
from console.processes.logs import LIBRARY_EVENT
from prompts.front_matter import load_prompt
from router.policy import load_policy
from settings import Settings
from storage.db.database import Database
from storage.db.ids import new_id
from storage.jobs import jobs
from storage.jobs.jobs import ClaimedJob
from storage.money import runs
from storage.money.runs import Grant, PlannedCall
from tests.conftest import new_tenant
from tests.support.fleet import Urls
from tests.support.pages import DOCS, FENCE, ROOT, fences, rows

CLIENT = ROOT / "clients" / "python"
ROOMS = (
    "console", "evals", "workers", "producers", "router", "guards", "storage", "queues", "prompts", "simulator",
    "embedded",
)  # fmt: skip
SAYS_SQL_FILES = ("docs/how-to/read-spend.md",)

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_PATH = re.compile(r"`(?P<path>[\w.-]+(?:/[\w.-]+)*/(?:[\w.-]+\.(?:py|sql|lua|md|yaml|toml|jsonl|json))?)`")
_SETTING = re.compile(r"\b(?:HEADRACE_[A-Z_]+|OPENAI_API_KEY|ANTHROPIC_API_KEY)\b")


def pages() -> list[Path]:
    """Every page of the project, as paths."""
    others = [ROOT / "console" / "demo" / "data" / "README.md", CLIENT / "README.md"]
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *others]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks, and without the README's list of what is not there."""
    return FENCE.sub("", page.read_text("utf-8").replace(not_there_yet(), ""))


def not_there_yet() -> str:
    """The list in the README."""
    return (ROOT / "README.md").read_text("utf-8").partition("## What is not there yet")[2].partition("\n## ")[0]


# ------------------------------------------------------------------------------------------------------ every page


@pytest.mark.parametrize("page", pages(), ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(prose(page)):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{named(page)} links to {match['target']}"
        if anchor:
            headings = {_slug(heading["text"]) for heading in _HEADING.finditer(prose(there))}
            assert anchor in headings, f"{named(page)} links to {match['target']}"


@pytest.mark.parametrize("page", pages(), ids=named)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    for match in _PATH.finditer(prose(page)):
        path = match["path"]
        if path.split("/")[0] in {entry.name for entry in ROOT.iterdir()} - {".headrace"}:
            assert (ROOT / path).exists(), f"{named(page)} names {path}"


@pytest.mark.parametrize("page", pages(), ids=named)
def test_python_in_a_page_compiles_and_imports_what_is_there(page: Path) -> None:
    elsewhere = tuple(f"# {project.name}/" for project in (CLIENT / "examples").iterdir())
    for text in fences(page, "python"):
        if text.startswith(elsewhere):  # of a project of its own: tests/clients/test_examples.py holds it
            continue
        tree = compile(text, named(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS:
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), f"{named(page)}: {ast.unparse(node)}"


def test_what_is_not_there_yet_is_not_there() -> None:
    """Each line of the list begins with a path or a command. One that exists has to leave the list."""
    lines = re.findall(r"^- .*", not_there_yet(), re.MULTILINE)
    named_first = [re.match(r"- `(?P<what>[^`]+)`: ", line) for line in lines]
    assert len(lines) > 3 and None not in named_first, "a line begins with a path or a command"

    for what in [match["what"] for match in named_first if match is not None]:
        if what.startswith("headrace "):
            with pytest.raises(AssertionError, match="shows `headrace"):
                _check_command(what.split()[1:], "README.md")
        else:
            assert not (ROOT / what).exists(), f"{what} is there: take it out of the README's list"


@pytest.mark.parametrize("page", pages(), ids=named)
def test_settings_that_a_page_names_exist(page: Path) -> None:
    known = {name for names, _ in settings().values() for name in names} | {"HEADRACE_CI"}
    assert set(_SETTING.findall(page.read_text("utf-8"))) <= known


@pytest.mark.parametrize("page", pages(), ids=named)
def test_commands_in_a_page_exist(page: Path) -> None:
    for text in (*fences(page, "sh"), *re.findall(r"`(headrace [^`]+)`", prose(page))):
        for words in re.findall(r"(?:^|[\s$(\"/])headrace ((?:[a-z-]+ ?)+)", text.replace("\\\n", " "), re.MULTILINE):
            _check_command(words.split(), named(page))


@pytest.mark.parametrize("page", pages(), ids=named)
def test_make_targets_and_modules_in_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = page.read_text("utf-8")
    shown = "\n".join([*fences(page, "sh"), *re.findall(r"`((?:make|python -m) [^`]+)`", prose(page))])
    assert set(re.findall(r"\bmake ([a-z]+)", shown)) <= targets
    for module in re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", text):
        assert importlib.util.find_spec(module), f"{named(page)} runs {module}"


def test_pages_that_the_code_points_to_exist() -> None:
    for file in _sources():
        for path in re.findall(r"docs/[\w/-]+\.md", file.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{named(file)} points to {path}"


# --------------------------------------------------------------------------------- tables that follow from the code


def settings() -> dict[str, tuple[list[str], FieldInfo]]:
    """Field → the names of its environment variables, and the field."""
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else []
        found[name] = (choices or [f"HEADRACE_{name.upper()}"], field)
    return found


def settings_rows() -> list[str]:
    """The lines of the table in docs/reference/settings.md."""

    def default(field: FieldInfo) -> str:
        value = field.default
        if value is None:
            return "unset"
        return (
            f"`{json.dumps(value) if isinstance(value, dict) else f'{value:g}' if isinstance(value, float) else value}`"
        )

    return [
        f"| {', '.join(f'`{one}`' for one in names)} | {default(field)} | {field.description} |"
        for names, field in settings().values()
    ]


def test_every_setting_is_in_its_page_with_its_default() -> None:
    page = (DOCS / "reference" / "settings.md").read_text("utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert table == settings_rows(), "put these lines there:\n" + "\n".join(settings_rows())


def test_the_example_environment_names_every_setting_and_every_password_once() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    given = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    passwords = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text("utf-8")))
    assert sorted(given) == sorted([*(names[-1] for names, _ in settings().values()), *passwords])


def error_kinds() -> Iterator[type[errors.HeadraceError]]:
    pending = [errors.HeadraceError]
    while pending:
        kind = pending.pop()
        yield kind
        pending.extend(one for one in kind.__subclasses__() if one.__module__ == "errors")


def test_every_error_code_is_in_its_page_with_class_and_family() -> None:
    families = {"permanent": errors.PermanentError, "retryable": errors.RetryableError, "not now": errors.NotNowError}
    listed = {}
    for code, name, family, *_ in rows("reference/errors.md"):
        listed[code.strip("`")] = (name.strip("`"), family)
    actual = {}
    for kind in error_kinds():
        family = next((word for word, root in families.items() if issubclass(kind, root)), "–")
        actual[kind.code] = (kind.__name__, family)
    assert listed == actual


def test_every_log_event_is_in_its_page_and_every_one_listed_is_logged() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows("reference/events.md")}
    assert len(listed) == len(rows("reference/events.md")), "an event has two rows"
    logged = _logged_events()
    assert listed.pop(LIBRARY_EVENT) == "warning, error, critical"
    assert listed == {event: ", ".join(sorted(levels)) for event, levels in logged.items()}


def test_every_word_of_the_glossary_is_used_in_the_code() -> None:
    sources = [
        file for pattern in ("*.py", "*.sql", "*.lua") for room in ROOMS for file in (ROOT / room).rglob(pattern)
    ]
    code = "\n".join(file.read_text("utf-8").lower() for file in sources)
    words = re.findall(r"^\| \*\*(.+?)\*\*", (DOCS / "explanation" / "glossary.md").read_text("utf-8"), re.MULTILINE)
    forms = {word: re.escape(word.lower()).replace(r"\ ", "[ _-]") for word in words}
    assert len(words) > 40
    assert [word for word, form in forms.items() if not re.search(rf"(?<![a-z]){form}", code)] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*project["project"]["dependencies"], *chain.from_iterable(project["dependency-groups"].values())]
    names = {re.split(r"[<>=\[ ]", one)[0] for one in wanted}
    assert {cells[0].strip("`") for cells in rows("dependencies.md")} == names


def test_the_prompt_that_is_shown_is_one(tmp_path: Path) -> None:
    (text,) = fences(DOCS / "how-to" / "write-a-prompt.md", "markdown")
    file = tmp_path / "product_name.md"
    file.write_text(text, "utf-8")
    assert load_prompt(file).name == "product_name"


def test_the_routing_that_is_shown_is_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("".join(fences(DOCS / "how-to" / "change-routing.md", "yaml")), "utf-8")
    policy = load_policy(file)
    assert set(policy.features) == {"product_name", "chat"}
    assert policy.tiers == load_policy(None).tiers


def test_the_sql_of_every_reported_figure_is_in_the_docs_word_for_word() -> None:
    blocks = [text.strip() for page in SAYS_SQL_FILES for text in fences(ROOT / page, "sql")]
    for file in sorted((ROOT / "storage" / "money" / "queries" / "report").glob("*.sql")):
        assert blocks.count(file.read_text("utf-8").strip()) == 1, f"{file.name} is not in {SAYS_SQL_FILES} as it is"


# ------------------------------------------------------------------------------------------ what pages say about SQL


def test_sql_for_operators_runs_as_the_operators_role(ops: Database, tenant: UUID) -> None:
    """Everything in a fence of these pages, but templates of a query's inside, in the order of the page."""
    for page in ("how-to/operate-workers.md", "how-to/write-a-prompt.md", "how-to/change-routing.md"):
        for text in fences(DOCS / page, "sql"):
            with ops.connection() as connection, connection.transaction():
                connection.execute(text.encode())
    with ops.connection() as connection:
        capped = connection.execute("select limit_usd from headrace.caps where scope = 'user' and key = 'ada'")
        assert [row["limit_usd"] for row in capped] == [Decimal("0.50")], "the example names a tenant called Acme"


def test_enqueueing_from_sql_runs_as_the_login_that_the_page_makes(urls: Urls, ops: Database, tenant: UUID) -> None:
    page = DOCS / "how-to" / "enqueue-from-sql.md"
    heredocs = re.findall(r"<<'SQL'\n(.*?)^SQL$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    login, enqueue = (text.replace("shop", "shop_of_the_page") for text in heredocs)
    (read,) = fences(page, "sql")
    placeholder = "01a20c9f-d18d-709b-8b14-a2c030361fb0"
    assert ":'tenant'" in enqueue
    assert placeholder in read
    with psycopg.connect(urls.owner, autocommit=True) as owner:
        owner.execute(login.encode())
        try:
            with psycopg.connect(make_conninfo(urls.owner, user="shop_of_the_page"), autocommit=True) as connection:
                connection.execute(enqueue.replace(":'tenant'", f"'{tenant}'").encode())
                assert connection.execute("select id from shop_of_the_page.orders").fetchall() == [(4711,)]
                assert connection.execute(read.replace(placeholder, str(tenant)).encode()).fetchall() == []
        finally:
            owner.execute("drop owned by shop_of_the_page cascade")
            owner.execute("drop role shop_of_the_page")
    with ops.connection() as connection:
        assert [row["idempotency_key"] for row in connection.execute("select idempotency_key from headrace.jobs")] == [
            "order-4711"
        ]


def test_the_worked_example_of_money_comes_out_as_told(app: Database, ops: Database) -> None:
    """docs/explanation/money.md, step by step."""
    text = (DOCS / "explanation" / "money.md").read_text("utf-8")
    tenant = new_tenant(ops, "Worked", plan="free", daily_cap_usd=Decimal("0.0030"))
    first, second = _claimed(app, tenant), _claimed(app, tenant)

    call, granted = _begin(app, tenant, first)
    assert (granted.verdict, granted.reserved_usd) == ("granted", Decimal("0.000600"))
    assert _begin(app, tenant, second)[1].verdict == "wait_for_room"
    with app.connection() as connection:
        used = {"id": str(call.run_id), "status": "succeeded", "input_tokens": 980, "output_tokens": 260}
        jobs.settle(
            connection, tenant, first[0], first[1], run=used, verdict="ended",
            outcome={"outcome": "succeeded", "run_id": str(call.run_id), "output": "x", "finish": "complete",
                     "max_output_tokens": 900},
        )  # fmt: skip
    refused = _begin(app, tenant, second)[1]
    assert (refused.verdict, refused.cap_scope, refused.spent_usd) == ("over_budget", "user", Decimal("0.000228"))
    shortened = _begin(app, tenant, second, min_output_tokens=300)[1]
    assert (shortened.verdict, shortened.max_output_tokens) == ("granted", 444)
    for figure in ("$0.0006", "**$0.000600**", "**$0.000228**", "$0.000372", "$0.000150", "**444**"):
        assert figure in text


def _claimed(app: Database, tenant: UUID) -> tuple[UUID, UUID]:
    job_id, claim_id = new_id(), new_id()
    request: dict[str, Any] = {
        "id": str(job_id), "user_id": "ada", "feature": "chat", "messages": [{"role": "user", "content": "Hello"}],
    }  # fmt: skip
    with app.connection() as connection:
        jobs.enqueue_batch(connection, tenant, [request], wake=False)
        claimed = jobs.claim(
            connection, tenant, "interactive", claim_id=claim_id, worker_id=uuid4(), timeout_s=60, turns_per_tenant=64
        )
    assert isinstance(claimed, ClaimedJob)
    return claimed.job_id, claim_id


def _begin(
    app: Database, tenant: UUID, claimed: tuple[UUID, UUID], *, min_output_tokens: int | None = None
) -> tuple[PlannedCall, Grant]:
    call = PlannedCall(
        run_id=new_id(), kind="answer", provider="openai", model="gpt-6-luna", tier="cheap", route_rule="default",
        fallback=False, input_bound=1200, max_output_tokens=900, min_output_tokens=min_output_tokens, prompt_id=None,
    )  # fmt: skip
    with app.connection() as connection:
        return call, runs.begin(connection, tenant, claimed[0], claimed[1], call)


# --------------------------------------------------------------------------------------------------------- the tools


def _slug(heading: str) -> str:
    """A heading's anchor, as code hosts make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _sources() -> Iterator[Path]:
    for pattern in ("*.py", "*.sql", "*.lua"):
        for room in (*ROOMS, "benchmarks"):
            yield from (ROOT / room).rglob(pattern)
    yield from (ROOT / "pyproject.toml", ROOT / "errors.py", ROOT / "settings.py", ROOT / "Makefile")


def _logged_events() -> dict[str, set[str]]:
    """Event → the levels at which the code logs it."""
    found: dict[str, set[str]] = {}
    levels = {"debug", "info", "warning", "error", "critical", "exception"}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                where = node.func.value
                if node.func.attr in levels and isinstance(where, ast.Name) and where.id in {"log", "_log"}:
                    event = node.args[0]
                    assert isinstance(event, ast.Constant), f"{named(file)}:{node.lineno} logs an event without a name"
                    found.setdefault(str(event.value), set()).add(node.func.attr)
    return found


def _check_command(words: list[str], page: str) -> None:
    """The words begin with a command of ``headrace``, and with one of its own where it is a group of several."""
    from console.command_line import COMMANDS  # the command line's own table

    assert words[0] in COMMANDS, f"{page} shows `headrace {words[0]}`"
    entry = COMMANDS[words[0]]
    found = getattr(importlib.import_module(entry.module), entry.attribute)
    if isinstance(found, typer.Typer) and len(words) > 1 and not words[1].startswith("-"):
        names = {one.name for one in found.registered_commands}
        assert words[1] in names, f"{page} shows `headrace {words[0]} {words[1]}`"
