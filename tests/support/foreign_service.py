"""Some other service with a table of its own in the same database: its orders and our jobs share their fate."""

from __future__ import annotations

import psycopg

from storage.db.database import Database
from tests.support.fleet import Urls


def open_shop(urls: Urls) -> None:
    """Make ``shop.orders``, which ``headrace_producer`` may write."""
    with psycopg.connect(urls.owner) as connection:
        connection.execute("create schema shop")
        connection.execute("create table shop.orders (number integer primary key)")
        connection.execute("grant usage on schema shop to headrace_producer")
        connection.execute("grant insert on shop.orders to headrace_producer")


def orders_and_keys(urls: Urls, ops: Database) -> tuple[list[int], list[str]]:
    """The numbers of the orders that are there, and the idempotency keys of the jobs that are."""
    with psycopg.connect(urls.owner) as connection:
        orders = [row[0] for row in connection.execute("select number from shop.orders order by number")]
    with ops.connection() as opened:
        rows = opened.execute("select idempotency_key as key from headrace.jobs order by key").fetchall()
    return orders, [row["key"] for row in rows]
