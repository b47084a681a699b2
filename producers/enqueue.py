"""``from producers import enqueue, enqueue_many, result``: thin shells over one default client.

The default client reads the environment once, at first use (``HEADRACE_DATABASE_URL``, ``HEADRACE_REDIS_URL`` or
``HEADRACE_BROKER_URL``, and for dry runs ``HEADRACE_ROUTING_POLICY``); a service that wants its own builds a
:class:`producers.client.Client`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload
from uuid import UUID

import forks
from producers.client import Batch, Client, JobId, Result
from producers.fields import Fields
from producers.quote import Quote
from queues.broker_url import open_wire, redis_client
from settings import Settings, reveal
from storage.db.database import Database
from storage.db.logins import refuse_unsafe_role
from wording import needed, of_settings

if TYPE_CHECKING:
    from producers.quoter import Quoter


class _Default:
    """The client of this process, made from the settings at first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """Another thread of the parent may have held the lock; the client renews itself. See :mod:`forks`."""
        self._lock = threading.Lock()

    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = connect(_settings())
            return self._client


_default = _Default()


def default_client() -> Client:
    """The client of this process, made from the settings at first use. A forked child reconnects it."""
    return _default.client()


def _settings() -> Settings:
    try:
        return Settings()
    except ValueError as error:
        known = of_settings(error)
        if known is None:
            raise
        raise known from error


def connect(settings: Settings) -> Client:
    """A client for these settings. Raises :class:`errors.ConfigurationError` for a URL that is missing or unsafe."""
    hint = "`headrace services env` prints those of the private services."
    database_url = needed(reveal(settings.database_url), "HEADRACE_DATABASE_URL", hint=hint)
    wire = open_wire(
        needed(reveal(settings.broker_url or settings.redis_url), "HEADRACE_REDIS_URL", hint=hint),
        lanes=settings.lane_weights,
        turns_per_tenant=settings.turns_per_tenant,
        setting=settings.wire_setting,
    )
    database = Database(database_url)
    with database.connection() as connection:
        refuse_unsafe_role(connection)
    return Client(database, wire, quoter=lambda: open_quoter(settings, database, reveal(settings.redis_url)))


def open_quoter(settings: Settings, database: Database, redis_url: str | None) -> Quoter:
    """The quoter for dry runs; without a Redis its quotes do not include the rates' room.

    Raises :class:`errors.ConfigurationError` when the routing policy cannot be read.
    """
    # Here and not above: modules that only dry runs need would make every program that enqueues slower to start.
    from guards.rates import RateGuard
    from producers.quoter import Quoter
    from router.policy import load_policy

    rates = None if redis_url is None else RateGuard(redis_client(redis_url))
    policy = load_policy(settings.routing_policy)
    return Quoter(database, policy, rates, read_policy=lambda: load_policy(settings.routing_policy))


@overload
def enqueue(*, dry_run: Literal[False] = False, conn: Any = None, **fields: Unpack[Fields]) -> JobId: ...
@overload
def enqueue(*, dry_run: Literal[True], conn: None = None, **fields: Unpack[Fields]) -> Quote: ...
@overload
def enqueue(*, dry_run: bool, conn: None = None, **fields: Unpack[Fields]) -> JobId | Quote: ...
def enqueue(*, dry_run: bool = False, conn: Any = None, **fields: Any) -> JobId | Quote:
    """Enqueue one job, or with ``dry_run`` say what it would cost; see :meth:`producers.client.Client.enqueue`."""
    return default_client().enqueue(dry_run=dry_run, conn=conn, **fields)


def enqueue_many(requests: Iterable[Mapping[str, Any]]) -> Batch:
    """Enqueue many jobs; see :meth:`producers.client.Client.enqueue_many`."""
    return default_client().enqueue_many(requests)


def result(job_id: UUID, *, tenant_id: UUID, timeout: float | None = None, must_end: bool = False) -> Result:
    """A job's state and answer; see :meth:`producers.client.Client.result`."""
    return default_client().result(job_id, tenant_id=tenant_id, timeout=timeout, must_end=must_end)


@overload
async def aenqueue(*, dry_run: Literal[False] = False, conn: Any = None, **fields: Unpack[Fields]) -> JobId: ...
@overload
async def aenqueue(*, dry_run: Literal[True], conn: None = None, **fields: Unpack[Fields]) -> Quote: ...
@overload
async def aenqueue(*, dry_run: bool, conn: None = None, **fields: Unpack[Fields]) -> JobId | Quote: ...
async def aenqueue(*, dry_run: bool = False, conn: Any = None, **fields: Any) -> JobId | Quote:
    """:func:`enqueue` for asyncio."""
    return await default_client().aenqueue(dry_run=dry_run, conn=conn, **fields)


async def aenqueue_many(requests: Iterable[Mapping[str, Any]]) -> Batch:
    """:func:`enqueue_many` for asyncio."""
    return await default_client().aenqueue_many(requests)


async def aresult(job_id: UUID, *, tenant_id: UUID, timeout: float | None = None, must_end: bool = False) -> Result:
    """:func:`result` for asyncio."""
    return await default_client().aresult(job_id, tenant_id=tenant_id, timeout=timeout, must_end=must_end)
