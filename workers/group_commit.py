"""The group commit: claims, begins and settles that come at the same time share one transaction.

A transaction costs its flush to disk, its round trip and its hand-over between threads, whatever it does. And every
call of a tenant locks the same few rows, its caps, until that flush. So steps stand in line, and the thread of the
first step does the steps behind it as well. A step that comes alone goes at once: no step waits for company.

Tenants share a line as long as that goes well. When a step fails, or waits for a lock that another transaction holds,
all tenants of its transaction stand in lines of their own for a while, so that no tenant waits for another one's steps.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

import structlog

from errors import NotTogetherError, ServiceError
from storage.db.connect import Connection
from storage.db.database import Database
from storage.jobs import group_commit
from storage.jobs.group_commit import BeginStep, ClaimStep, Done, SettleStep, Step
from storage.jobs.jobs import ClaimedJob, Settled, Stopped
from storage.money.runs import Grant, PlannedCall

#: Most steps of one transaction; it holds its tenants' caps for their time.
AT_ONCE: Final = 16
#: Lines that tenants share in a process.
LINES: Final = 1
#: A settle of more characters stands in its tenant's own line: what is long to write holds no other tenant's caps.
LONG_STEP: Final = 250_000
#: How long tenants stay apart whose steps did not go together, s.
APART_S: Final = 1.0

_Line: TypeAlias = int | UUID  # a shared one, or a tenant's own
log = structlog.get_logger("headrace.group_commit")


class GroupCommit:
    """One object a process, shared by its threads. Waits for a Postgres that is away, as its callers would."""

    def __init__(self, database: Database, draining: threading.Event | None = None, *, lines: int = LINES) -> None:
        """Write nothing yet.

        :param draining: set when nothing new is begun: a claim no longer waits for a Postgres that is away.
        :param lines: how many are shared; 0: every tenant has its own.
        """
        self._database = database
        self._draining = draining
        self._shared = lines
        self._lock = threading.Lock()
        self._lines: dict[_Line, deque[_Waiting]] = {}  # a line is here while a thread does its steps
        self._apart: dict[UUID, float] = {}  # tenant → until when it stands in a line of its own

    def claim(
        self,
        tenant_id: UUID,
        lane: str,
        *,
        claim_id: UUID,
        worker_id: UUID,
        timeout_s: float,
        turns_per_tenant: int,
    ) -> ClaimedJob | Stopped | None:
        """Claim the tenant's next job of a lane; see :func:`storage.jobs.jobs.claim`."""
        step = ClaimStep(lane, claim_id, worker_id, timeout_s, turns_per_tenant)
        return cast("ClaimedJob | Stopped | None", self._do(tenant_id, step))

    def begin(self, tenant_id: UUID, job_id: UUID, claim_id: UUID, call: PlannedCall) -> Grant:
        """Check the caps, reserve, write the run; see :func:`storage.money.runs.begin`."""
        return cast("Grant", self._do(tenant_id, BeginStep(job_id, claim_id, call)))

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
        """Price the run and carry out the verdict; see :func:`storage.jobs.jobs.settle`."""
        return cast("Settled", self._do(tenant_id, SettleStep(job_id, claim_id, run, verdict, outcome)))

    def _do(self, tenant_id: UUID, step: Step) -> Done:
        tried, long = False, isinstance(step, SettleStep) and step.characters > LONG_STEP
        while True:
            mine = _Waiting(tenant_id, step, tried)
            with self._lock:
                where = self._line_of(tenant_id, long)
                line = self._lines.get(where)
                if line is None:
                    line = self._lines[where] = deque()
                    mine.leads = True
                else:
                    line.append(mine)
            if not mine.leads:
                mine.woken.acquire()
            if mine.leads:
                self._lead(where, line, mine)
            if mine.error is not None:
                raise mine.error
            if mine.is_done:
                return mine.done
            tried = True  # it did not go together with others, or the leading thread was torn away: safe to repeat

    def _line_of(self, tenant_id: UUID, long: bool) -> _Line:
        if long or not self._shared or (self._apart and self._apart.get(tenant_id, 0.0) > time.monotonic()):
            return tenant_id
        return tenant_id.int % self._shared

    def _lead(self, where: _Line, line: deque[_Waiting], mine: _Waiting) -> None:
        """Do this thread's step and those of the others in line; then the next in line leads."""
        with self._lock:
            together = [mine, *(line.popleft() for _ in range(min(len(line), AT_ONCE - 1)))]
        try:
            self._run(together, own_line=isinstance(where, UUID))
        finally:
            with self._lock:
                following = line.popleft() if line else None
                if following is None:
                    del self._lines[where]
                else:
                    following.leads = True
            if following is not None:  # first, so that the next transaction is under way while the others wake
                following.woken.release()
            for waiter in together[1:]:
                waiter.woken.release()

    def _run(self, together: list[_Waiting], *, own_line: bool) -> None:
        if own_line and len(together) == 1:
            self._run_alone(together)
            return
        give_up = self._draining if all(isinstance(waiter.step, ClaimStep) for waiter in together) else None
        steps, repeats = [(waiter.tenant_id, waiter.step) for waiter in together], [waiter.tried for waiter in together]

        def run(connection: Connection) -> list[Done | Exception]:
            nonlocal repeats
            now, repeats = repeats, [True] * len(steps)
            return group_commit.run(connection, steps, wait=own_line, repeat=now)

        try:
            done = self._database.retry_until_answered(run, give_up=give_up)
        except ServiceError as error:  # Postgres is away, and none of them waits for it
            for waiter in together:
                waiter.error = error
        except Exception as error:  # noqa: BLE001 (a NotTogetherError or not foreseen: of one step, which shows apart)
            self._not_together(together, error, own_line=own_line)
        else:
            for waiter, what in zip(together, done, strict=True):
                if isinstance(what, NotTogetherError):
                    self._not_together([waiter], what, own_line=own_line)
                elif isinstance(what, Exception):
                    waiter.error = what
                else:
                    waiter.ends(what)

    def _not_together(self, steps: list[_Waiting], error: Exception, *, own_line: bool) -> None:
        """They are not done, or what they came to could not be told: each comes again, and in the end alone."""
        if not own_line:
            self._part(steps, error)
            return
        log.warning("group_commit.one_by_one", error=_named(error), steps=len(steps))
        for waiter in steps:
            waiter.tried = True
        self._run_alone(steps)

    def _part(self, together: list[_Waiting], error: Exception) -> None:
        """Each comes again, in a line of its tenant's own."""
        now, tenants = time.monotonic(), {waiter.tenant_id for waiter in together}
        log.info("group_commit.apart", error=_named(error), tenants=len(tenants), steps=len(together))
        with self._lock:
            kept = {tenant: until for tenant, until in self._apart.items() if until > now}
            self._apart = kept | dict.fromkeys(tenants, now + APART_S)

    def _run_alone(self, together: list[_Waiting]) -> None:
        for waiter in together:
            give_up = self._draining if isinstance(waiter.step, ClaimStep) else None
            try:
                waiter.ends(self._database.retry_until_answered(partial(_alone, waiter=waiter), give_up=give_up))
            except Exception as error:  # noqa: BLE001 (not ours to judge: it is raised to the step's own caller)
                waiter.error = error


def _alone(connection: Connection, *, waiter: _Waiting) -> Done:
    repeat, waiter.tried = waiter.tried, True
    return waiter.step.alone(connection, waiter.tenant_id, repeat=repeat)


def _named(error: Exception) -> str:
    return str(error) if isinstance(error, NotTogetherError) else type(error).__name__


class _Waiting:
    """One step in line, and what becomes of it."""

    __slots__ = ("done", "error", "is_done", "leads", "step", "tenant_id", "tried", "woken")

    def __init__(self, tenant_id: UUID, step: Step, tried: bool) -> None:
        self.tenant_id = tenant_id
        self.step = step
        self.tried = tried  # before: its answer may be what was lost
        self.leads = False
        self.woken = threading.Lock()  # free when it is told; a lock is the cheapest thing to wait for
        self.woken.acquire()
        self.is_done = False
        self.done: Done = None
        self.error: Exception | None = None

    def ends(self, done: Done) -> None:
        """It is done, and this is what it came to."""
        self.done, self.is_done = done, True
