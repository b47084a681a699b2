"""Why Postgres cannot be used: which variable, which part of it, which reason, and never the password."""

from __future__ import annotations

import socket

import pytest

from console.endpoints import Endpoints
from errors import ConfigurationError, PostgresUnavailableError
from redaction import without_password
from storage.db import connect as connect_module
from storage.db.connect import connect
from storage.db.database import Database
from tests.support.pgbouncer import bouncer
from tests.support.ports import free_port

SETTING = "HEADRACE_OPS_DATABASE_URL"


def refusal(url: str) -> PostgresUnavailableError:
    errors = []
    for way in (connect, Database):
        with pytest.raises(PostgresUnavailableError) as caught:
            way(url, setting=SETTING)
        errors.append(caught.value)
    assert errors[0].as_dict() == errors[1].as_dict()
    assert errors[0].field == SETTING
    assert SETTING in (errors[0].hint or "")
    return errors[0]


def test_a_wrong_password_is_not_a_server_that_is_down(services: Endpoints) -> None:
    with bouncer(services.require_owner(), password="geheim") as through:
        url = through(services.database_url)
        right = connect(f"{url}&password=geheim")
        right.close()

        wrong, none = refusal(f"{url}&password=g@ehe1m"), refusal(url)
        with pytest.raises(PostgresUnavailableError) as nowhere:
            connect(f"{url.replace('/headrace?', '/nowhere?')}&password=geheim", setting=SETTING)

    for error in (wrong, none):
        assert error.as_dict()["reason"] == "login"
        assert "refuses the login" in error.message
        assert "Is it running" not in str(error)
        assert "%40" in (error.hint or "")
        assert "ehe" not in str(error)
    assert nowhere.value.as_dict()["reason"] == "database"


@pytest.mark.parametrize(
    ("place", "reason", "says"),
    [
        ("u:geheim@127.0.0.1:{free}/x", "refused", "nothing listens there"),
        ("u:geheim@no-such-host.invalid/x", "no_such_host", "no such host"),
        ("u:geheim@127.0.0.1:{silent}/x?connect_timeout=1", "unreachable", "cannot be reached"),
        ("u:geheim@/x?host=/no/such/folder", "no_socket", "no such socket"),
    ],
)
def test_refused_unreachable_and_unknown_are_told_apart(
    place: str, reason: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connect_module.SESSION, "connect_timeout", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"postgresql://{place}".format(free=free_port(), silent=silent.getsockname()[1])
        error = refusal(url)
    assert (error.as_dict()["reason"], "geheim" in str(error)) == (reason, False)
    assert says in error.message


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:geheim@127.0.0.1/x?schema=public", "does not know: schema"),
        ("postgresql://u:geheim@127.0.0.1/x?sslmode=prefer&pool_size=5", "does not know: pool_size"),
        ("postgresql://u:geheim@127.0.0.1:1/x?sslmode=sometimes", "a value of `sslmode`"),
        ("postgresql://u:geheim@127.0.0.1:abc/x", "a value of `port`"),
        ("postgresql://u:geheim@127.0.0.1:99999/x", "a value of `port`"),
        ("postgresql://u:a@b?geheim=1@127.0.0.1/x", "cannot be read"),
        ("postgresql://us@er:geheim@127.0.0.1/x", "cannot be read"),
    ],
)
def test_the_part_that_is_wrong_is_named_unless_it_may_be_of_a_password(url: str, says: str) -> None:
    for way in (connect, Database):
        with pytest.raises(ConfigurationError, match=says) as caught:
            way(url, setting=SETTING)
        assert caught.value.field == SETTING
        assert "geheim" not in f"{caught.value} {caught.value.as_dict()} {caught.value.__cause__}"
    assert "geheim" not in without_password(url.replace("geheim=1", "geheim"))
