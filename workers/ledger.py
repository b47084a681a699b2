"""Begins and settles calls, those of one tenant that come at the same time in one transaction.

Every call of a tenant locks the same few rows: its caps. One transaction after the other would wait for a flush to
disk each time (322 pairs a second were measured for one hot tenant); together they wait once. A step that comes alone
goes at once, alone: nobody waits for company.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

import structlog

from errors import NotTogetherError
from storage import books
from storage.books import Begin, Settle, Step
from storage.connect import Connection
from storage.database import Database
from storage.jobs import Settled
from storage.runs import Grant, PlannedCall

#: Most steps of one transaction; it holds the tenant's caps for their time.
AT_ONCE: Final = 16

log = structlog.get_logger("headrace.ledger")


class Ledger:
    """One object a process, shared by its threads. Waits for a Postgres that is away, as its callers would."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._lines: dict[UUID, deque[_Waiting]] = {}  # a tenant is here while somebody does steps for it

    def begin(self, tenant_id: UUID, job_id: UUID, claim_id: UUID, call: PlannedCall) -> Grant:
        """Check the caps, reserve, write the run; see :func:`storage.runs.begin`."""
        return cast("Grant", self._do(tenant_id, Begin(job_id, claim_id, call)))

    def settle(
        self,
        tenant_id: UUID,
        job_id: UUID,
        claim_id: UUID,
        *,
        run: Mapping[str, Any] | None,
        verdict: str,
        outcome: Mapping[str, Any],
    ) -> Settled:
        """Price the run and carry out the verdict; see :func:`storage.jobs.settle`."""
        return cast("Settled", self._do(tenant_id, Settle(job_id, claim_id, run, verdict, outcome)))

    def _do(self, tenant_id: UUID, step: Step) -> Grant | Settled:
        while True:
            mine = _Waiting(step)
            with self._lock:
                line = self._lines.get(tenant_id)
                if line is None:
                    line = self._lines[tenant_id] = deque()
                    mine.leads = True
                else:
                    line.append(mine)
            if not mine.leads:
                mine.woken.wait()
            if mine.leads:
                self._lead(tenant_id, line, mine)
            if mine.error is not None:
                raise mine.error
            if mine.done is not None:
                return mine.done
            # whoever led was torn away before the answer came: the step is safe to repeat

    def _lead(self, tenant_id: UUID, line: deque[_Waiting], mine: _Waiting) -> None:
        """Do one's own step and those of the others in line; then the next in line leads."""
        with self._lock:
            together = [mine, *(line.popleft() for _ in range(min(len(line), AT_ONCE - 1)))]
        try:
            self._keep(tenant_id, together)
        finally:
            with self._lock:
                following = line.popleft() if line else None
                if following is None:
                    del self._lines[tenant_id]
                else:
                    following.leads = True
            for one in together[1:]:
                one.woken.set()
            if following is not None:
                following.woken.set()

    def _keep(self, tenant_id: UUID, together: list[_Waiting]) -> None:
        if len(together) > 1:
            steps = [one.step for one in together]
            try:
                done = self._database.patiently(lambda connection, _repeat: books.keep(connection, tenant_id, steps))
            except NotTogetherError as error:  # one of them will not do: which one shows when each goes alone
                log.warning("ledger.one_by_one", error=str(error), steps=len(together))
            except Exception as error:  # noqa: BLE001 (not ours to judge: it is raised to each of those who wait)
                for one in together:
                    one.error = error
                return
            else:
                for one, what in zip(together, done, strict=True):
                    one.done = what
                return
        for one in together:
            try:
                one.done = self._database.patiently(partial(_alone, tenant_id=tenant_id, step=one.step))
            except Exception as error:  # noqa: BLE001 (the same)
                one.error = error


def _alone(connection: Connection, _repeat: bool, *, tenant_id: UUID, step: Step) -> Grant | Settled:
    return step.alone(connection, tenant_id)


class _Waiting:
    """One step in line, and what becomes of it."""

    __slots__ = ("done", "error", "leads", "step", "woken")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.leads = False
        self.woken = threading.Event()
        self.done: Grant | Settled | None = None
        self.error: Exception | None = None
