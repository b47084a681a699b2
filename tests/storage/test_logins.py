"""A process logs in as a member of its one role and of nothing else; and no URL's password is ever shown."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from console.endpoints import Endpoints
from errors import ConfigurationError, HeadraceError, UnsafeRoleError
from queues.broker_url import open_wire
from storage.db.connect import connect
from storage.db.database import Database
from storage.db.logins import excess, refuse_unsafe_role
from storage.db.session import operator_session
from storage.migrate import migrate
from tests.conftest import TEMPLATE
from tests.support.fleet import Urls

_numbers = itertools.count(1)


@pytest.fixture
def login(services: Endpoints) -> Iterator[Callable[..., str]]:
    """Makes a login: statements with ``{}`` for its name; returns its URL. Whatever was made is dropped."""
    owner = make_conninfo(services.require_owner(), dbname=TEMPLATE)
    made: list[str] = []
    with psycopg.connect(owner, autocommit=True) as connection:

        def make(*statements: str, **options: str) -> str:
            name = f"login_{os.getpid()}_{next(_numbers)}"
            connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
            made.append(name)
            for text in statements:
                for statement in text.split(";"):
                    connection.execute(statement.replace("{}", name).encode())
                    if statement.strip().startswith("create role"):
                        made.append(statement.replace("{}", name).split()[2])
            return make_conninfo(owner, user=name, **options)

        yield make
        for name in reversed(made):
            connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


APP, OPS = "headrace_app", "headrace_ops"
TOO_MUCH = [
    # (what the login is, as which role it is tested, what is named)
    (["grant headrace_ops to {}"], APP, "headrace_ops"),
    (["grant headrace_app to {}", "grant headrace_ops to {}"], APP, "headrace_ops"),
    (["grant headrace_app to {}", "grant headrace_ops to {} with inherit false"], APP, "headrace_ops"),
    (["grant headrace_app to {}", "grant headrace_ops to {} with inherit false, set true"], APP, "headrace_ops"),
    (["grant headrace_app to {}", "grant headrace_ops to {} with admin true, inherit false, set false"], APP, OPS),
    (["grant headrace_app to {}", "grant headrace_owner to {} with inherit false"], APP, "headrace_owner"),
    (["grant headrace_owner, headrace_ops to {}"], APP, "headrace_owner"),  # as the login that migrates
    (["grant headrace_app to {}", "create role m_{}; grant headrace_ops to m_{}; grant m_{} to {}"], APP, "m_login"),
    (["grant headrace_app to {}", "create role s_{} superuser; grant s_{} to {} with inherit false"], APP, "superuser"),
    (["grant headrace_app to {}", "create role b_{} bypassrls; grant b_{} to {}"], APP, "BYPASSRLS"),
    (["grant headrace_app to {}", "alter role {} bypassrls"], APP, "BYPASSRLS"),
    (["grant headrace_app to {}", "alter role {} superuser"], APP, "superuser"),
    (["grant headrace_app to {}", "grant pg_read_all_data to {}"], APP, "pg_read_all_data"),
    (["grant headrace_app to {}", "grant pg_maintain to {}"], APP, "pg_maintain"),
    (["grant headrace_app, headrace_producer to {}"], APP, "headrace_producer"),
    (["grant headrace_app, headrace_ops to {}", "alter role {} set role headrace_app"], APP, "headrace_ops"),
    (["grant headrace_app to {}", f"alter role {{}} set app.tenant_id = '{UUID(int=1)}'"], APP, "a tenant"),
    (["grant headrace_app to {}", "alter role {} set row_security = off"], APP, "row-level security policy"),
    ([], APP, "not a member of headrace_app"),
    (["grant headrace_producer to {}"], APP, "headrace_producer"),
    (["grant headrace_app, headrace_ops to {}"], OPS, "headrace_app"),
    (["grant headrace_owner, headrace_ops to {}"], OPS, "headrace_owner"),
    (["grant headrace_app to {}"], OPS, "headrace_app"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "role", "named"), TOO_MUCH, ids=lambda value: str(value)[:60])
def test_a_login_that_is_more_or_less_is_refused(
    login: Callable[..., str], given: list[str], role: str, named: str
) -> None:
    with connect(login(*given)) as connection:
        says = "; ".join(one.says for one in excess(connection, role=role))
        assert named in says
        with pytest.raises(UnsafeRoleError):
            refuse_unsafe_role(connection, role=role)


@pytest.mark.parametrize("role", [APP, OPS])
def test_a_plain_member_may(login: Callable[..., str], role: str) -> None:
    for given in ([f"grant {role} to {{}}"], [f"create role g_{{}}; grant {role} to g_{{}}; grant g_{{}} to {{}}"]):
        with connect(login(*given)) as connection:
            assert excess(connection, role=role) == []


def test_a_role_in_the_url_or_of_the_login_hides_nothing(login: Callable[..., str]) -> None:
    given = ("grant headrace_app, headrace_ops to {}",)
    for url in (login(*given, options="-c role=headrace_app"), login(*given, options="-c role=headrace_ops")):
        with connect(url) as connection:
            assert any("headrace_ops" in one.says for one in excess(connection, role=APP))


def test_a_table_that_is_not_bound_or_shows_a_row_is_named(urls: Urls) -> None:
    with connect(urls.owner) as owner, connect(urls.app) as connection:
        assert excess(connection, role=APP) == []
        owner.execute("alter table headrace.results disable row level security")
        assert [one.says for one in excess(connection, role=APP)] == [
            "with no tenant set, rows of headrace.results are seen"
        ]
        owner.execute("alter table headrace.results enable row level security")
        owner.execute("create policy open on headrace.prompts to headrace_app using (true)")
        assert [one.says for one in excess(connection, role=APP)] == [
            "with no tenant set, rows of headrace.prompts are seen"
        ]


def test_every_way_in_refuses_another_s_login(urls: Urls, services: Endpoints) -> None:
    with pytest.raises(UnsafeRoleError), operator_session(urls.app):
        pass
    environment = {
        "PATH": os.environ["PATH"], "OPENAI_API_KEY": "k", "HEADRACE_REDIS_URL": urls.redis,
        "HEADRACE_DATABASE_URL": urls.ops, "HEADRACE_OPS_DATABASE_URL": urls.app,
    }  # fmt: skip
    for module in ("console.processes.worker", "console.processes.scheduler"):
        done = subprocess.run(
            [sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2, done.stderr
        assert "row-level security would not hold" in done.stderr


# --------------------------------------------------------------------------------------------------------- passwords

SECRET = "geheim"
ODD = (
    "{}@x", "{}/x", "x/{}", "1/{}", "{}%", "%{}", "{}#x", "{}?x", "x?{}=1", "{} x", "{}:x", "{}[x", "]{}", "'{}",
    "{}\\", "{}&{}=",
)  # fmt: skip
DATABASES = ("postgresql://u:{}@127.0.0.1:1/db", "host=127.0.0.1 port=1 user=u password={} dbname=db")
WIRES = ("redis://:{}@127.0.0.1:1/0", "redis+cluster://u:{}@127.0.0.1:1", "amqp://u:{}@127.0.0.1:1/v")


def _told(error: BaseException | None) -> str:
    """All that any reader of an error could print, its causes and contexts included."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error) + repr(getattr(error, "as_dict", dict)())
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


@pytest.mark.parametrize("odd", ODD)
def test_no_error_tells_a_password(odd: str) -> None:
    password = odd.replace("{}", SECRET)
    for place in DATABASES:
        for way in (connect, Database):
            with pytest.raises(HeadraceError) as caught:
                way(place.replace("{}", password))
            assert SECRET not in _told(caught.value), place
    for place in WIRES:  # some can be read, and are not asked: a wire takes its time to give up
        error: HeadraceError | None = None
        try:
            open_wire(place.replace("{}", password), lanes={"interactive": 1}).close()
        except HeadraceError as refused:
            error = refused
        assert SECRET not in _told(error), place
    if "/" in odd:
        assert error is not None


def test_a_url_that_cannot_be_read_is_named_by_its_own_variable() -> None:
    with pytest.raises(ConfigurationError) as of_app:
        connect("nonsense")
    with pytest.raises(ConfigurationError) as of_ops, operator_session("nonsense"):
        pass
    with pytest.raises(ConfigurationError) as of_owner:
        migrate("nonsense")
    assert [one.value.field for one in (of_app, of_ops, of_owner)] == [
        "HEADRACE_DATABASE_URL",
        "HEADRACE_OPS_DATABASE_URL",
        "HEADRACE_OWNER_DATABASE_URL",
    ]


@pytest.mark.parametrize(
    "entry", ["console.processes.worker", "console.processes.scheduler", "console.main", "enqueue"]
)
def test_no_process_tells_a_password_at_any_level(entry: str) -> None:
    command = {
        "console.main": ["-m", "console.main", "tenants", "list"],
        "enqueue": ["-c", "from producers import result; result('0197a000-0000-7000-8000-000000000000',"
                          " tenant_id='0197a000-0000-7000-8000-000000000000')"],
    }.get(entry, ["-m", entry])  # fmt: skip
    password = f"{SECRET}@x/%zz"
    url = f"postgresql://u:{password}@127.0.0.1:1/db"
    environment = {f"HEADRACE_{which}DATABASE_URL": url for which in ("", "OPS_", "OWNER_")}
    environment |= {"HEADRACE_REDIS_URL": f"redis://:{password}@127.0.0.1:1/0", "PATH": os.environ["PATH"]}
    environment |= {"HEADRACE_LOG_LEVEL": "debug", "OPENAI_API_KEY": "k"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode != 0
    assert SECRET not in done.stdout + done.stderr
