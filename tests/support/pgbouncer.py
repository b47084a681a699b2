"""A private PgBouncer, in transaction mode if nothing else is said, in front of the tests' Postgres."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from embedded import account
from tests.support.fleet import eventually
from tests.support.required import absent

WayIn = Callable[[str], str]
"""Turns the URL of a database into the one by which the application reaches it."""

_ROLES = ("headrace_app", "headrace_ops", "headrace_producer", "postgres")
_LEADS = re.compile(r"host=(?P<sockets>[^&]+)&port=(?P<port>\d+)")  # to a socket; nothing listens on TCP


def is_wanted() -> bool:
    """Whether every test of this run shall go through it."""
    return bool(os.environ.get("HEADRACE_TEST_PGBOUNCER"))


@contextmanager
def bouncer(url: str, *, servers: int = 20, password: str = "", mode: str = "transaction") -> Iterator[WayIn]:
    """Run one before the server of this URL, with so many server connections a database and role.

    With a password every role needs it.
    """
    # /usr/sbin, where Debian puts it, is not on everybody's path
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        absent("pgbouncer")
    behind = _LEADS.search(url)
    assert behind is not None, f"not the URL of a private Postgres: {url}"
    user = account.for_servers()  # root is refused, and only the servers' own user gets at their sockets
    home = Path(tempfile.mkdtemp(prefix="headrace-bouncer-"))
    try:
        (home / "users.txt").write_text("".join(f'"{role}" "{password}"\n' for role in _ROLES))
        (home / "pgbouncer.ini").write_text(
            _configuration(
                home, servers=servers, auth="plain" if password else "trust", mode=mode, **behind.groupdict()
            )
        )
        if not user.is_ours:
            for path in (home, *home.iterdir()):
                shutil.chown(path, user.uid, user.gid)
        with (home / "output.log").open("wb") as output:
            process = subprocess.Popen(
                [program, home / "pgbouncer.ini"], stdout=output, stderr=output, **user.of_process()
            )
        try:
            there = url.replace(behind["sockets"], str(home)) + (f"&password={password}" if password else "")
            eventually(lambda: process.poll() is not None or _answers(there), why="PgBouncer answers")
            assert process.poll() is None, (home / "output.log").read_text()
            yield lambda one: one.replace(behind["sockets"], str(home))
        finally:
            process.terminate()
            process.wait(10)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _configuration(home: Path, *, sockets: str, port: str, servers: int, auth: str, mode: str) -> str:
    return f"""
[databases]
* = host={sockets} port={port}
[pgbouncer]
pool_mode = {mode}
listen_port = {port}
unix_socket_dir = {home}
auth_type = {auth}
auth_file = {home}/users.txt
default_pool_size = {servers}
max_client_conn = 1000
"""


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
