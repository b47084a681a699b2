"""The files by which Headrace is deployed, read; and a Postgres that asks for passwords, as a deployed one does."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from embedded import account, binaries
from tests.support.fleet import eventually

ROOT = Path(__file__).resolve().parents[2]
SUPERUSER_PASSWORD = "only-for-this-test"

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::[-?][^}]*)?\}")


def compose() -> dict[str, Any]:
    """docker-compose.yml."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8")))


def procfile() -> dict[str, str]:
    """The processes of the Procfile: name → command."""
    lines = (ROOT / "Procfile").read_text("utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True)
class Guarded:
    """A Postgres with nothing in it that accepts no login without a password."""

    sockets: Path

    def environment(self, service: str, values: Mapping[str, str], *, redis_url: str) -> dict[str, str]:
        """A service's environment of docker-compose.yml, with the hosts' names replaced by what is here."""
        found = {}
        for name, value in compose()["services"][service]["environment"].items():
            text = values.get(name, "") if value is None else _VARIABLE.sub(lambda one: values[one["name"]], value)
            text = text.replace("@postgres/headrace", f"@/headrace?host={self.sockets}")
            found[name] = {"redis://redis:6379/0": redis_url, "postgres": str(self.sockets)}.get(text, text)
        return found | ({"PGUSER": "postgres"} if "PGUSER" in found else {})

    def connect(self, role: str, password: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Log in."""
        return psycopg.connect(host=str(self.sockets), dbname="headrace", user=role, password=password, autocommit=True)


@contextmanager
def guarded_postgres() -> Iterator[Guarded]:
    """Run one."""
    user = account.for_servers()
    programs = binaries.postgres(user)
    home = Path(tempfile.mkdtemp(prefix="headrace-guarded-"))
    try:
        (home / "password").write_text(SUPERUSER_PASSWORD)
        if not user.is_ours:
            for path in (home, home / "password"):
                shutil.chown(path, user.uid, user.gid)
        _make_cluster(programs, home, user)
        with (home / "postgres.log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", home / "data", "-c", "listen_addresses=", "-c", "fsync=off",
                 "-c", f"unix_socket_directories={home}"],
                stdout=log, stderr=log, cwd="/", **user.of_process(),
            )  # fmt: skip
        try:
            eventually(lambda: server.poll() is not None or _made_the_database(home), why="Postgres answers")
            assert server.poll() is None, (home / "postgres.log").read_text()
            yield Guarded(home)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_cluster(programs: Path, home: Path, user: account.Account) -> None:
    subprocess.run(
        [programs / "initdb", "-D", home / "data", "--username=postgres", f"--pwfile={home / 'password'}",
         "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"],
        check=True, capture_output=True, cwd="/", **user.of_process(),
    )  # fmt: skip


def _made_the_database(home: Path) -> bool:
    try:
        with psycopg.connect(
            host=str(home), dbname="postgres", user="postgres", password=SUPERUSER_PASSWORD, autocommit=True
        ) as connection:
            connection.execute("create database headrace")
    except psycopg.OperationalError:
        return False
    return True
