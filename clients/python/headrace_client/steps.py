"""The steps of each call, independent of how it waits: the one core of the sync and the async client.

A step yields a :class:`Statement` and is sent its rows, or a :class:`Pause` and is sent nothing; its return value is
the caller's. Values go to Postgres and come back as text, so that it does not matter how a connection of the caller's
converts UUIDs, JSON or times. Django, for one, reads JSON its own way.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from headrace_client.errors import HeadraceError, InvalidInputError, NotEndedError, NotFoundError, refusal
from headrace_client.fields import MOST_BYTES, as_json, as_row, as_uuid, tenant_of
from headrace_client.ids import new_id
from headrace_client.outcomes import Batch, JobId, Refused, Result, State

CHUNK: Final = 1000  # jobs a statement
CHUNK_BYTES: Final = MOST_BYTES
PENDING_BYTES: Final = 32_000_000  # of all tenants together
_ID_SENT: Final = slice(len('{"id":"'), len('{"id":"') + 36)  # where the id is in a written request
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.02, 1.0

_ENQUEUE: Final = (
    'select b."index", b.job_id::text, b.error::text'
    " from headrace.enqueue_many(tenant_id => %s::uuid, requests => %s::jsonb) b"
)
_RESULT: Final = (
    "select r.state, r.reason, r.output, r.output_json::text, r.finish, r.error::text, r.attempts, r.cost_usd::text,"
    " r.simulated"
    " from headrace.result(tenant_id => %s::uuid, job_id => %s::uuid) r"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. It is safe to repeat when the answer to its commit was lost."""

    text: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of that length; no connection is held meanwhile."""

    seconds: float


Rows: TypeAlias = Sequence[tuple[Any, ...]]
T = TypeVar("T")
Steps: TypeAlias = Generator[Statement | Pause, Rows, T]


def enqueue(fields: Mapping[str, Any]) -> Steps[JobId]:
    """Enqueue one job."""
    tenant_id = tenant_of(fields)
    row = as_row(fields)
    rows = yield _insert(tenant_id, [_written(row)])
    ((_, job_id, error),) = rows
    if error is not None:
        raise _refusal(error, row)
    return JobId(UUID(job_id))


def enqueue_many(requests: Iterable[Mapping[str, Any]]) -> Steps[Batch]:
    """Enqueue many jobs, in chunks of one tenant each."""
    ids: list[JobId | None] = []
    refused: list[Refused] = []
    repeated: set[int] = set()
    pending: dict[UUID, list[tuple[int, str]]] = defaultdict(list)
    sizes: Counter[UUID] = Counter()

    def flush(tenant_id: UUID) -> Steps[None]:
        chunk = pending.pop(tenant_id, [])
        sizes.pop(tenant_id, None)
        if not chunk:
            return
        rows = yield _insert(tenant_id, [text for _, text in chunk])
        for place, job_id, error in rows:
            index, text = chunk[place]
            if error is not None:
                refused.append(Refused(index, _refusal(error, json.loads(text))))
                continue
            ids[index] = JobId(UUID(job_id))
            if job_id != text[_ID_SENT]:
                repeated.add(index)

    for index, fields in enumerate(requests):
        ids.append(None)
        try:
            tenant_id = tenant_of(fields)
            text = _written(as_row(fields))
        except InvalidInputError as error:
            refused.append(Refused(index, error))
            continue
        size = len(text) if text.isascii() else len(text.encode())
        if sizes[tenant_id] + size > CHUNK_BYTES:
            yield from flush(tenant_id)
        pending[tenant_id].append((index, text))
        sizes[tenant_id] += size
        if len(pending[tenant_id]) >= CHUNK:
            yield from flush(tenant_id)
        elif sizes.total() > PENDING_BYTES:
            yield from flush(max(sizes, key=sizes.__getitem__))
    for tenant_id in list(pending):
        yield from flush(tenant_id)
    return Batch(ids, sorted(refused, key=lambda one: one.index), frozenset(repeated))


def result(
    job_id: UUID | str, tenant_id: UUID | str, timeout: float | None, *, must_end: bool = False
) -> Steps[Result]:
    """Read a job; with a timeout look again until it ended or the time is up, which ``must_end`` makes an error."""
    job, tenant = as_uuid(job_id, "job_id"), as_uuid(tenant_id, "tenant_id")
    if timeout is not None and not timeout >= 0:
        raise InvalidInputError("must be seconds, 0 or more", field="timeout", value=timeout)
    give_up = time.monotonic() + (timeout or 0.0)
    pause_s = _FIRST_LOOK_S
    while True:
        rows = yield Statement(_RESULT, (str(tenant), str(job)))
        if not rows:
            raise NotFoundError("no such job of this tenant", field="job_id", value=str(job))
        found = _read(JobId(job), rows[0])
        left_s = give_up - time.monotonic()
        if found.state.ended or (left_s <= 0 and not must_end):
            return found
        if left_s <= 0:
            raise _not_ended(found, timeout or 0.0)
        # many waiting calls do not look at the same moments
        yield Pause(min(pause_s * random.uniform(0.8, 1.2), left_s))  # noqa: S311 (nothing secret)
        pause_s = min(pause_s * 1.5, _LONGEST_LOOK_S)


def _not_ended(found: Result, waited_s: float) -> NotEndedError:
    return NotEndedError(
        f"the job is {found.state} after {waited_s:g} s",
        hint=f"`headrace jobs why {found.job_id}` says what it waits for.",
        job_id=str(found.job_id),
        state=found.state,
        reason=found.reason,
    )


def _written(row: Mapping[str, Any]) -> str:
    try:
        return as_json("request", {"id": str(new_id()), **row})
    except InvalidInputError:
        for name, value in row.items():  # the field at fault
            as_json(name, value)
        raise


def _insert(tenant_id: UUID, requests: Sequence[str]) -> Statement:
    return Statement(_ENQUEUE, (str(tenant_id), "[" + ",".join(requests) + "]"))


def _refusal(error: str, row: Mapping[str, Any]) -> HeadraceError:
    facts = json.loads(error)
    return refusal(facts, value=row.get(facts.get("field") or ""))


def _read(job_id: JobId, row: tuple[Any, ...]) -> Result:
    state, reason, output, output_json, finish, error, attempts, cost_usd, simulated = row
    unreadable: dict[str, str] = {}

    def value(name: str, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as failure:
            unreadable[name] = str(failure)
            return None

    return Result(
        job_id=job_id,
        state=State(state),
        reason=reason,
        output=output,
        output_json=value("output_json", output_json),
        finish=finish,
        error=value("error", error),
        attempts=attempts,
        cost_usd=Decimal(cost_usd),
        unreadable=unreadable,
        simulated=simulated,
    )
