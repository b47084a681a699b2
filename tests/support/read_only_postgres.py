"""A Postgres that takes no writes for a while, as after a failover or on a full managed disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


@contextmanager
def read_only(owner_url: str) -> Iterator[None]:
    """No connection to this database may write; those that are open are cut off. Afterwards, new ones may."""
    with psycopg.connect(owner_url, autocommit=True) as superuser:
        _switch(superuser, owner_url, on=True)
        try:
            yield
        finally:
            _switch(superuser, owner_url, on=False)


def _switch(superuser: psycopg.Connection, owner_url: str, *, on: bool) -> None:
    name = str(conninfo_to_dict(owner_url)["dbname"])
    superuser.execute(
        sql.SQL("alter database {} set default_transaction_read_only = {}").format(
            sql.Identifier(name), sql.Literal(on)
        )
    )
    if on:  # those that are read-only have to notice by themselves that the server is another one
        superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
            [name],
        )
