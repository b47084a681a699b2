"""The way in from Python: enqueue jobs, read results. One sync core; the async forms run it in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NewType, Unpack, overload
from uuid import UUID

import structlog

import forks
from errors import (
    ConfigurationError,
    HeadraceError,
    InvalidInputError,
    NotEndedError,
    NotFoundError,
    ServiceError,
    UnknownLaneError,
)
from producers.fields import Fields
from producers.quote import Quote
from producers.requests import NAMES_OF_TENANTS, JobRequest, as_row, as_rows, check, refusal, size_of
from queues.turns import FEW_JOBS, Wire, is_light, within_cap
from storage.db.database import Database
from storage.jobs import jobs
from storage.jobs.jobs import Enqueued, State

if TYPE_CHECKING:
    from producers.quoter import Quoter  # it loads the policy's reader and more, which plain enqueues do not need

JobId = NewType("JobId", UUID)

CHUNK = 1000  # jobs a transaction
CHUNK_BYTES = 4_000_000  # and about how many bytes: Postgres takes no JSON value of more than 256 MB
PENDING_BYTES = 64_000_000  # of all tenants that are collected for
_WITHIN_S = 10.0  # how long a call waits for Postgres to come back
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.01, 0.25

log = structlog.get_logger("headrace.producer")


@dataclass(frozen=True, slots=True)
class Refused:
    """One request of many that was not enqueued: its place among them, and why."""

    index: int
    error: HeadraceError


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcome of many requests. ``job_ids`` is as long as the input, None where one was refused.

    ``repeated``: the places of those whose idempotency key belongs to an earlier job, whose id is returned.
    """

    job_ids: Sequence[JobId | None]
    refused: Sequence[Refused]
    repeated: Collection[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Result:
    """A job's state and, once it ended, its answer or error. ``cost_usd`` is of all its runs so far, in USD.

    ``output`` is the text, ``output_json`` the value when an output schema was asked for; ``finish`` is ``complete``,
    ``length`` (cut at the output limit) or ``refusal``. ``unreadable`` names what is kept and cannot be held by Python
    (JSON with a number of thousands of digits), with the reason; those fields are None. ``simulated``: the provider
    simulator made the answer up.
    """

    job_id: JobId
    state: State
    reason: str | None
    output: str | None
    output_json: Any
    finish: str | None
    error: Mapping[str, Any] | None
    attempts: int
    cost_usd: Decimal
    unreadable: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False


class Client:
    """Enqueues for any tenant, as ``headrace_app``. For many threads and forked children. Close it when done."""

    def __init__(self, database: Database, wire: Wire, *, quoter: Callable[[], Quoter] | None = None) -> None:
        """``wire`` only carries hints: when it does not answer, the jobs are enqueued all the same and start a bit
        later.

        ``quoter`` makes the quoter for dry runs; it is called once, at the first of them.
        """
        self._database = database
        self._wire = wire
        self._make_quoter = quoter
        self._quoter: Quoter | None = None
        self._quoter_lock = threading.Lock()
        forks.renew_in_child(self)

    def renew_in_child(self) -> None:
        """Another thread of the parent may have held the lock; connected parts renew themselves. See :mod:`forks`."""
        self._quoter_lock = threading.Lock()

    @overload
    def enqueue(self, *, dry_run: Literal[False] = False, conn: Any = None, **fields: Unpack[Fields]) -> JobId: ...
    @overload
    def enqueue(self, *, dry_run: Literal[True], conn: None = None, **fields: Unpack[Fields]) -> Quote: ...
    @overload
    def enqueue(self, *, dry_run: bool, conn: None = None, **fields: Unpack[Fields]) -> JobId | Quote: ...
    def enqueue(self, *, dry_run: bool = False, conn: Any = None, **fields: Any) -> JobId | Quote:
        """Enqueue one job and return its id. The fields are those of :class:`producers.requests.JobRequest`.

        With ``conn`` (a psycopg connection) the job is inserted in the caller's own transaction: it exists if and
        only if that commits. With ``dry_run`` nothing is inserted: see :meth:`quote`. Raises
        :class:`errors.InvalidInputError` (or its kind) naming the field, or :class:`errors.PostgresUnavailableError`.
        """
        if dry_run:
            if conn is not None:
                raise InvalidInputError(
                    "does not go with a dry run",
                    field="conn",
                    hint="A quote reads what is committed; it needs no transaction.",
                )
            return self.quote(fields)
        request = check(fields)
        if conn is not None:
            return JobId(_raised(jobs.enqueue_in(conn, request.tenant_id, as_row(request)), request))
        (done,) = self._insert(request.tenant_id, [as_row(request)])
        self._offer(request.tenant_id, [done])
        return JobId(_raised(done))

    def quote(self, fields: Mapping[str, Any]) -> Quote:
        """What the job with these fields would cost and whether it would run. Inserts nothing, holds nothing.

        Raises what :meth:`enqueue` would raise, and :class:`errors.ConfigurationError` when this client was made
        without a quoter.
        """
        return self._quotes().quote(check(fields))

    def quote_many(self, requests: Sequence[Mapping[str, Any]]) -> list[Quote | HeadraceError]:
        """:meth:`quote` for each of many requests, in their order, at a fraction of the cost. Nothing is inserted.

        Each is quoted as if it came alone. An error stands where :meth:`quote` would have raised it.
        """
        told: list[Quote | HeadraceError | None] = [None] * len(requests)
        pending: dict[UUID, list[tuple[int, JobRequest]]] = defaultdict(list)
        for index, fields in enumerate(requests):
            try:
                request = check(fields)
            except InvalidInputError as error:
                told[index] = error
                continue
            pending[request.tenant_id].append((index, request))
        for chunk in (part for of_tenant in pending.values() for part in _chunks(of_tenant)):
            quoted = self._quotes().quote_many([request for _, request in chunk])
            for (index, _), one in zip(chunk, quoted, strict=True):
                told[index] = one
        return [one for one in told if one is not None]

    def enqueue_many(
        self, requests: Iterable[Mapping[str, Any]], *, progress: Callable[[int], object] | None = None
    ) -> Batch:
        """Enqueue many jobs; refused requests are reported, valid ones are enqueued.

        Atomic per tenant and chunk: up to 1,000 jobs of up to 4 MB together.

        ``progress`` is called with how many requests were handled since its last call.
        """
        ids: list[JobId | None] = []
        refused: list[Refused] = []
        repeated: set[int] = set()
        pending: dict[UUID, list[tuple[int, JobRequest]]] = defaultdict(list)
        sizes: Counter[UUID] = Counter()
        held = 0

        def flush(tenant_id: UUID) -> None:
            nonlocal held
            chunk = pending.pop(tenant_id, [])
            held -= sizes.pop(tenant_id, 0)
            if not chunk:
                return
            rows = as_rows([request for _, request in chunk])
            done = self._insert(tenant_id, rows)
            self._offer(tenant_id, done)
            for (index, _), row, one in zip(chunk, rows, done, strict=True):
                if one.error is not None:
                    refused.append(Refused(index, refusal(one.error)))
                elif one.job_id is not None:
                    ids[index] = JobId(one.job_id)
                    if (
                        str(one.job_id) != row["id"]
                    ):  # not `created`: the second try of a step finds what the first wrote
                        repeated.add(index)
            if progress is not None:
                progress(len(chunk))

        for index, fields in enumerate(requests):
            ids.append(None)
            try:
                request = check(fields)
            except InvalidInputError as error:
                refused.append(Refused(index, error))
                if progress is not None:
                    progress(1)
                continue
            pending[request.tenant_id].append((index, request))
            size = size_of(request)
            sizes[request.tenant_id] += size
            held += size
            if len(pending[request.tenant_id]) >= CHUNK or sizes[request.tenant_id] >= CHUNK_BYTES:
                flush(request.tenant_id)
            elif held > PENDING_BYTES:
                flush(max(sizes, key=sizes.__getitem__))
        for tenant_id in list(pending):
            flush(tenant_id)
        return Batch(ids, sorted(refused, key=lambda one: one.index), frozenset(repeated))

    def result(self, job_id: UUID, *, tenant_id: UUID, timeout: float | None = None, must_end: bool = False) -> Result:
        """The job's state and answer; with ``timeout`` (seconds) it waits that long for the job's end.

        Returns the current state when the time is up, or with ``must_end`` raises :class:`errors.NotEndedError`. Raises
        :class:`errors.NotFoundError` for an id that is not this tenant's, :class:`errors.InvalidInputError` for a value
        that is not an id at all, :class:`errors.PostgresUnavailableError` when Postgres does not answer.
        """
        job_id, tenant_id = _id(job_id, "job_id"), _id(tenant_id, "tenant_id")
        if timeout is not None and not timeout >= 0:
            raise InvalidInputError("must be seconds, 0 or more", field="timeout", value=timeout)
        give_up = time.monotonic() + (timeout or 0.0)
        pause_s = _FIRST_LOOK_S
        while True:
            found = self._look(job_id, tenant_id)
            left_s = give_up - time.monotonic()
            if found.state.ended or (left_s <= 0 and not must_end):
                return found
            if left_s <= 0:
                raise _not_ended(found, timeout or 0.0)
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_LOOK_S)

    @overload
    async def aenqueue(
        self, *, dry_run: Literal[False] = False, conn: Any = None, **fields: Unpack[Fields]
    ) -> JobId: ...
    @overload
    async def aenqueue(self, *, dry_run: Literal[True], conn: None = None, **fields: Unpack[Fields]) -> Quote: ...
    @overload
    async def aenqueue(self, *, dry_run: bool, conn: None = None, **fields: Unpack[Fields]) -> JobId | Quote: ...
    async def aenqueue(self, *, dry_run: bool = False, conn: Any = None, **fields: Any) -> JobId | Quote:
        """:meth:`enqueue` for asyncio."""
        return await asyncio.to_thread(lambda: self.enqueue(dry_run=dry_run, conn=conn, **fields))

    async def aenqueue_many(self, requests: Iterable[Mapping[str, Any]]) -> Batch:
        """:meth:`enqueue_many` for asyncio."""
        return await asyncio.to_thread(lambda: self.enqueue_many(requests))

    async def aresult(
        self, job_id: UUID, *, tenant_id: UUID, timeout: float | None = None, must_end: bool = False
    ) -> Result:
        """:meth:`result` for asyncio."""
        return await asyncio.to_thread(
            lambda: self.result(job_id, tenant_id=tenant_id, timeout=timeout, must_end=must_end)
        )

    def close(self) -> None:
        """Let go of Postgres and the wire."""
        self._wire.close()
        self._database.close()

    def _quotes(self) -> Quoter:
        if self._make_quoter is None:
            raise ConfigurationError(
                "this client cannot make quotes: it has no quoter",
                field="dry_run",
                value=True,
                hint="Client(…, quoter=lambda: Quoter(database, load_policy(None))).",
            )
        with self._quoter_lock:
            if self._quoter is None:
                self._quoter = self._make_quoter()
            return self._quoter

    def _insert(self, tenant_id: UUID, rows: Sequence[Mapping[str, Any]]) -> list[Enqueued]:
        # Safe to repeat: the ids were made here, so a second try finds the rows of the first one.
        return self._database.retry_until_answered(
            lambda connection: jobs.enqueue_batch(connection, tenant_id, rows, wake=False), within_s=_WITHIN_S
        )

    def _offer(self, tenant_id: UUID, done: Sequence[Enqueued]) -> None:
        lanes: dict[str, int] = defaultdict(int)
        for one in done:
            if one.lane is not None:
                lanes[one.lane] += 1
        for lane, n in lanes.items():
            try:
                if self._wire.counts:
                    self._wire.offer(lane, str(tenant_id), n)
                else:
                    self._offer_uncounted(tenant_id, lane, n)
            except (ServiceError, UnknownLaneError) as error:  # the jobs are in; another process may know the lane
                log.warning("turn.hint_lost", error=str(error), lane=lane)  # the sweep finds it within a second

    def _offer_uncounted(self, tenant_id: UUID, lane: str, n: int) -> None:
        cap = self._wire.turns_per_tenant
        found = self._database.retry_until_answered(
            lambda connection: jobs.live_up_to(connection, [(tenant_id, lane)], queued=cap + n, running=FEW_JOBS),
            tenant_id=tenant_id,
            within_s=_WITHIN_S,
        )
        live = found[tenant_id, lane]
        turns = within_cap(n, live.queued, cap)
        if turns:
            self._wire.offer(lane, str(tenant_id), turns, light=is_light(live.queued, live.running))

    def _look(self, job_id: UUID, tenant_id: UUID) -> Result:
        row = self._database.retry_until_answered(
            lambda connection: jobs.show(connection, job_id, tenant_id=tenant_id),
            tenant_id=tenant_id,
            within_s=_WITHIN_S,
        )
        if row is None:
            raise NotFoundError("no such job of this tenant", field="job_id", value=str(job_id))
        return Result(
            job_id=JobId(row.id),
            state=row.state,
            reason=row.reason,
            output=row.output,
            output_json=row.output_json,
            finish=row.finish,
            error=row.error,
            attempts=row.attempts,
            cost_usd=row.cost_usd,
            unreadable=row.unreadable,
            simulated=bool(row.simulated),
        )


def _chunks(requests: Sequence[tuple[int, JobRequest]]) -> Iterator[list[tuple[int, JobRequest]]]:
    """Chunks of as many requests as one statement takes."""
    chunk: list[tuple[int, JobRequest]] = []
    size = 0
    for one in requests:
        chunk.append(one)
        size += size_of(one[1])
        if len(chunk) >= CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _not_ended(found: Result, waited_s: float) -> NotEndedError:
    return NotEndedError(
        f"the job is {found.state} after {waited_s:g} s",
        hint=f"`headrace jobs why {found.job_id}` says what it waits for.",
        job_id=str(found.job_id),
        state=found.state,
        reason=found.reason,
    )


def _id(given: UUID | str, name: str) -> UUID:
    """An id as it is, or of the text that came with a request from outside."""
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except (ValueError, TypeError, AttributeError):
        hint = NAMES_OF_TENANTS if name == "tenant_id" else None
        raise InvalidInputError("must be a UUID", field=name, value=str(given), hint=hint) from None


def _raised(done: Enqueued, request: JobRequest | None = None) -> UUID:
    if done.error is not None:
        raise refusal(done.error, request)
    assert done.job_id is not None, "neither an id nor an error"
    return done.job_id
