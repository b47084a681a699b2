"""The scheduler: the background chores. Any number of schedulers may run; each chore is safe beside itself.

Each group of chores has a thread and a connection of its own, so that slow ones never stand before quick ones:

- *hints*: the notes of foreign transactions and due jobs, every 200 ms (notes at once where a signal says so), and this
  process's heartbeat;
- *room*: jobs that wait for money, a request rate or a slot, every 200 ms; bursts, every second;
- *repair*: the jobs of lost workers and the sweep, every second;
- *expiry*: jobs past their deadline, every second;
- *upkeep*: statistics, a vacuum of the queue after many endings, partitions ahead, what is kept no longer, unusual
  spend.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import structlog

from errors import CutOffError, InternalFaultError, ServiceError
from guards.rates import RateGuard
from queues.turns import FEW_JOBS, Wire, is_light, within_cap
from storage.db.connect import Connection
from storage.db.database import Database
from storage.fleet import chores as notes
from storage.fleet import recovery, retention
from storage.fleet.recovery import Looked, Reclaimed, Released, Turns
from storage.jobs import jobs
from storage.money import rates, spend
from storage.money.rates import WaitingForRate
from workers.chores import Chore, ChoreLoop
from workers.presence import Presence
from workers.rotation import OldestFirst, Rotation
from workers.trouble_log import TroubleLog
from workers.wake_listener import WakeListener

T = TypeVar("T")
NOTES_AT_ONCE = 5000
"""So many notes are taken in one pass,"""
RELEASED_AT_ONCE = 300
"""so many due jobs queued,"""
EXPIRED_AT_ONCE = 500
"""and so many late ones ended, so that no pass takes long."""
LOOKED_AT_ONCE = 2000
"""Tenants that are looked at in one pass for something that is due."""
LISTS_AT_ONCE = 100
"""Lists of request rates that are looked at in one pass."""
RELEASED_OF_A_LIST = 100
"""Jobs that are let in from one list at once."""
TAKEN_BACK_FOR_S = 0.5
"""So long one pass takes jobs back."""
LOOK_AGAIN_S = 1.0
THREADS = 5
"""So many groups of chores there are, each with a connection of its own while it works."""

# A call slower than this share of the heartbeat limit counts as a Postgres stall: workers may be alive although no
# heartbeat could be written, so the silence clock restarts.
_GAP = 0.25
_PAUSE_OF_VACUUM = 10  # times as long as the last one took
_LOOKED_AT_S = 0.5  # how soon the loss of a thread shows
log = structlog.get_logger("headrace.scheduler")


class Scheduler:
    """Does its chores until told to stop. As headrace_ops."""

    def __init__(
        self,
        *,
        database: Database,
        wire: Wire,
        rates: RateGuard | None = None,
        worker_silent_s: float,
        max_deaths: int,
        turns_per_tenant: int,
        idempotency_days: int,
        history_days: int = 90,
        trouble: TroubleLog | None = None,
    ) -> None:
        self._database = database
        self._trouble = trouble or TroubleLog()
        self._wire = wire
        self._rates = rates
        self._no_room_before: dict[tuple[UUID, str], float] = {}  # lists that wait for a rate; Python's clock
        self._wakes, self._due = OldestFirst(NOTES_AT_ONCE), OldestFirst(RELEASED_AT_ONCE)
        self._late = OldestFirst(EXPIRED_AT_ONCE)
        self._money_turns, self._rates_turns, self._slots_turns = Rotation(), Rotation(), Rotation()
        self._worker_silent_s = worker_silent_s
        self._max_deaths = max_deaths
        self._turns_per_tenant = turns_per_tenant
        self._idempotency_days = idempotency_days
        self._history_days = history_days
        self._caps_after = retention.FIRST_CAP
        self._no_vacuum_before = float("-inf")  # Python's clock
        self._listening_since = float("-inf")  # the end of the last gap in which Postgres did not answer
        self._notes_taken = 0
        self._presence = Presence(database, silent_s=worker_silent_s, woken_by=lambda: self._signals.woken_by)
        self.loops = [
            ChoreLoop(name, chores, self)
            for name, chores in {
                "hints": [
                    Chore("wakes", 0.2, self.drain_wakes, on_request=True),
                    Chore("due", 0.2, self.release_due),
                    Chore("heartbeat", self._presence.every_s, self._presence.beat),
                ],
                "room": [
                    Chore("money", 0.2, self.release_for_money),
                    Chore("rates", 0.2, self.release_for_rates),
                    Chore("slots", 0.2, self.release_for_slots),
                    Chore("lend", 1.0, self.lend_slots),
                ],
                "repair": [
                    Chore("reclaim", 1.0, self.reclaim),
                    Chore("sweep", 1.0, self.sweep),
                ],
                "expiry": [Chore("expire", 1.0, self.expire)],
                "upkeep": [
                    Chore("statistics", 1.0, self.statistics),
                    Chore("vacuum", 1.0, self.vacuum),
                    Chore("partitions", 60.0, self.partitions),
                    *(Chore(f"forget_{name}", 10.0, step) for name, step in self._forgetting().items()),
                    Chore("unusual", 3600.0, self.flag_unusual),
                ],
            }.items()
        ]
        hints = next(loop for loop in self.loops if loop.name == "hints")
        self._signals = WakeListener(database, hints.ask, lambda: self._notes_taken)

    def run(self, stopping: threading.Event) -> None:
        """Do the chores when they are due, until ``stopping``. A service that is away is waited for.

        :raises InternalFaultError: a thread of ours is gone. The others have been told to stop.
        """
        self._listening_since = time.monotonic()
        threads = [
            threading.Thread(target=loop.run, args=[stopping], name=f"chores: {loop.name}") for loop in self.loops
        ]
        threads.append(threading.Thread(target=self._signals.run, args=[stopping], name="signals"))
        for thread in threads:
            thread.start()
        log.info("scheduler.ready")
        lost: list[str] = []
        while not stopping.wait(_LOOKED_AT_S) and not lost:
            lost = [thread.name for thread in threads if not thread.is_alive()]
            self._trouble.tell_suppressed()
        self._trouble.tell_suppressed(last=True)
        lost = [] if stopping.is_set() else lost
        stopping.set()
        for loop in self.loops:
            loop.ask()
        for thread in threads:
            thread.join()
        self._presence.leave()
        if lost:
            raise InternalFaultError(f"a thread has ended: {', '.join(lost)}")
        log.info("scheduler.stopped")

    def got_through(self, chores: Sequence[Chore]) -> None:
        """Note that these chores got through. See :class:`workers.chores.Notebook`."""
        every_s = {chore.name: chore.every_s for chore in chores}
        with suppress(ServiceError, CutOffError):  # the next note tells the same
            self._do(lambda connection: notes.get_through(connection, every_s))

    def failed(self, chore: Chore, error: Exception) -> None:
        """Note that a pass of a chore failed. See :class:`workers.chores.Notebook`."""
        with suppress(ServiceError, CutOffError):  # it is in the log
            self._do(lambda connection: notes.fail(connection, chore.name, every_s=chore.every_s, error=error))

    def drain_wakes(self) -> bool:
        """Offer turns for what foreign transactions enqueued."""

        def drain(tenants: Sequence[UUID] | None, limit: int) -> int:
            turns = self._listening(lambda connection: recovery.drain_wakes(connection, limit=limit, tenants=tenants))
            self._notes_taken += _sum(turns)
            self._offer(turns)
            return _sum(turns)

        def look(after: UUID, most: int) -> Looked:
            return self._do(lambda connection: recovery.waking_tenants(connection, after=after, limit=most))

        return self._wakes.work_off(look, drain)

    def release_due(self) -> bool:
        """Queue what is due and offer its turns."""

        def release(tenants: Sequence[UUID] | None, limit: int) -> int:
            turns = self._do(lambda connection: recovery.release_due(connection, limit=limit, tenants=tenants))
            self._offer(turns)
            return _sum(turns)

        def look(after: UUID, most: int) -> Looked:
            return self._do(lambda c: recovery.due_tenants(c, after=after, look=LOOKED_AT_ONCE, limit=most))

        return self._due.work_off(look, release)

    def release_for_money(self) -> bool:
        """Queue the jobs that waited for room under a cap and fit now, in fair order, and offer their turns."""
        return self._let_in(self._money_turns, recovery.release_for_money)

    def release_for_slots(self) -> bool:
        """Queue the jobs that find a slot free which nobody told of, and offer their turns."""
        return self._let_in(self._slots_turns, recovery.release_for_slots)

    def _let_in(self, rotation: Rotation, release: Callable[[Connection, Mapping[UUID, str | None]], Released]) -> bool:
        def work(tenants: Sequence[UUID]) -> Mapping[UUID, str | None]:
            released = self._do(lambda connection: release(connection, rotation.turn(tenants)))
            self._offer(released.turns)
            return released.upto

        return rotation.give(rotation.ask(self._waiting), work)

    def _waiting(self, after: UUID, most: int) -> Looked:
        return self._do(lambda connection: recovery.waiting_tenants(connection, after=after, limit=most))

    def lend_slots(self) -> None:
        """Let caps with burst use idle threads, and offer the turns; reclaim what others need."""
        silent_s, most = self._worker_silent_s, self._turns_per_tenant
        self._offer(self._do(lambda c: recovery.lend_slots(c, silent_s=silent_s, turns_per_tenant=most)))

    def release_for_rates(self) -> bool:
        """Queue as many of the jobs that wait for a request rate as it has room for, and offer their turns."""
        now = time.monotonic()
        self._no_room_before = {key: until for key, until in self._no_room_before.items() if until > now}
        return self._rates_turns.give(self._rates_turns.ask(self._waiting), self._release_for_rates_of)

    def _release_for_rates_of(self, tenants: Sequence[UUID]) -> Mapping[UUID, str | None]:
        turn = self._rates_turns.turn(tenants)
        waiting = self._do(lambda connection: rates.waiting(connection, turn, lists=LISTS_AT_ONCE))
        wanted = [(one.tenant_id, one.waits_for, n) for one in waiting.lists if (n := self._room_of(one)) > 0]
        if wanted:
            self._offer(self._do(lambda connection: recovery.release_for_rates(connection, wanted)))
        return waiting.upto

    def _room_of(self, one: WaitingForRate) -> int:
        """How many of a list its rate has room for now."""
        if one.rate is None or self._rates is None:
            return RELEASED_OF_A_LIST
        now, key = time.monotonic(), (one.tenant_id, one.waits_for)
        if key in self._no_room_before:
            return 0
        n, more_in_s = self._rates.room(one.tenant_id, one.rate)
        if n == 0:
            # not for long: a rate that is raised meanwhile has to be noticed
            self._no_room_before[key] = now + min(more_in_s, LOOK_AGAIN_S)
        return min(n, RELEASED_OF_A_LIST)

    def reclaim(self) -> bool:
        """Reclaim the jobs of lost workers, one a transaction, for half a second; whether there are more.

        Nobody's silence counts while Postgres itself was away: its return must not look like the death of every worker.
        """
        self._listening(recovery.listen)  # before anything is taken: this call would wait where hearts do
        until = time.monotonic() + TAKEN_BACK_FOR_S
        queued: dict[str, Counter[UUID]] = defaultdict(Counter)
        more = False
        while time.monotonic() - self._listening_since >= self._worker_silent_s:
            if more := time.monotonic() > until:
                break
            job = self._listening(self._take_one_back)
            if job is None:
                break
            if job.state == "set_aside":
                log.warning("scheduler.set_aside", tenant_id=str(job.tenant_id), job_id=str(job.job_id))
                continue
            whose = {"tenant_id": str(job.tenant_id), "job_id": str(job.job_id)}
            log.warning("job.reclaimed", **whose, state=job.state)
            if job.state == "failed":
                self._trouble.dead_letter(whose, str(job.reason), {"code": job.reason})
            if job.state == "queued":
                queued[job.lane][job.tenant_id] += 1
        self._offer(queued)  # in the end, so that a wire that is away holds nothing up
        return more

    def _take_one_back(self, connection: Connection) -> Reclaimed | None:
        return recovery.reclaim(connection, silent_s=self._worker_silent_s, max_deaths=self._max_deaths)

    def expire(self) -> bool:
        """End waiting jobs past their deadline."""

        def end(tenants: Sequence[UUID] | None, limit: int) -> int:
            return self._do(lambda connection: recovery.expire(connection, limit=limit, tenants=tenants))

        def look(after: UUID, most: int) -> Looked:
            return self._do(lambda c: recovery.expiring_tenants(c, after=after, look=LOOKED_AT_ONCE, limit=most))

        return self._late.work_off(look, end)

    def sweep(self) -> None:
        """Raise the wire to what is queued: the repair of every lost hint. One scheduler at a time asks Postgres.

        No transaction is open while the wire is told: one that is stopped just then holds nobody up.
        """
        wanted = self._do(lambda connection: recovery.turns_wanted(connection, turns_per_tenant=self._turns_per_tenant))
        starving: dict[str, set[str]] = defaultdict(set)
        if not self._wire.counts:
            for lane, tenant in self._do(recovery.without_claim) if wanted else ():
                starving[lane].add(str(tenant))
        for lane, turns in wanted.items():
            if lane in self._wire.lanes:
                self._wire.refill(lane, {str(tenant): n for tenant, n in turns.items()}, starving[lane])

    def statistics(self) -> None:
        """Let Postgres plan anew for tables that have grown."""
        self._do(recovery.analyze_grown)

    def vacuum(self) -> None:
        """Clear the queue when many jobs have ended at once: until then claims walk past them, index entry by entry.

        Autovacuum does the same, up to a minute later. Where a long transaction keeps the entries, it is tried seldom.
        """
        if time.monotonic() < self._no_vacuum_before or not self._do(recovery.ended_outweigh):
            return
        began = time.monotonic()
        self._do(recovery.vacuum_queue)
        self._no_vacuum_before = time.monotonic() + _PAUSE_OF_VACUUM * (time.monotonic() - began)

    def partitions(self) -> None:
        """Make the partitions of the months ahead, each in a transaction of its own.

        What cannot be made now is tried again in a minute. There are months of time, so nothing has to wait for it.
        """
        made = 0
        while (calendar := self._do(recovery.ensure_partitions)).outcome == "made":
            made += 1
        if made:
            log.info("scheduler.partitions_made", partitions=made)
        if calendar.missing:
            log.info("scheduler.partitions_missing", partitions=calendar.missing, reason=calendar.outcome)

    def _forgetting(self) -> dict[str, Callable[[], bool]]:
        """What deletes old rows, by what they are. Each does one batch, and says whether it was full."""
        keys, history = self._idempotency_days, self._history_days
        return {
            "keys": lambda: self._forget(lambda connection: retention.forget_keys(connection, days=keys)),
            "events": lambda: self._forget(lambda connection: retention.forget_events(connection, days=history)),
            "outbox": lambda: self._forget(lambda connection: retention.forget_outbox(connection, days=history)),
            "buckets": lambda: self._forget(retention.forget_buckets),
            "workers": lambda: self._forget(retention.forget_workers),
            "aside": lambda: self._forget(retention.forget_aside),
            "caps": self.forget_caps,
        }

    def _forget(self, batch: Callable[[Connection], int]) -> bool:
        return self._do(batch) >= retention.BATCH

    def forget_caps(self) -> bool:
        """Look at the next caps and delete those that say nothing; whether many went."""
        gone, last = self._do(lambda connection: retention.forget_caps(connection, self._caps_after))
        self._caps_after = last or retention.FIRST_CAP
        return gone >= retention.BATCH // 2

    def flag_unusual(self) -> None:
        """Leave a notice of each user and feature that spends far over its own history, once a day."""
        for one in self._do(spend.flag_unusual):
            log.warning(
                "spend.unusual",
                tenant_id=str(one.what.tenant_id),
                scope=one.what.scope,
                key=one.what.key,
                spent_usd=str(one.what.spent_usd),
                usual_usd=str(one.median_usd),
            )

    def _offer(self, turns: Turns) -> None:
        light: Collection[UUID] = ()
        for lane, of_lane in turns.items():
            if lane not in self._wire.lanes:
                continue
            if not self._wire.counts:
                of_lane, light = self._uncounted(lane, of_lane)
            if of_lane:
                offered = {str(tenant): n for tenant, n in of_lane.items()}
                self._wire.offer_many(lane, offered, [str(tenant) for tenant in light])

    def _uncounted(self, lane: str, turns: Mapping[UUID, int]) -> tuple[dict[UUID, int], set[UUID]]:
        """What keeps within the cap of each tenant, and which tenants are light."""
        cap = self._wire.turns_per_tenant
        pairs = [(tenant, lane) for tenant in turns]
        most = cap + max(turns.values(), default=0)
        found = self._do(lambda connection: jobs.live_up_to(connection, pairs, queued=most, running=FEW_JOBS))
        kept = {tenant: within_cap(n, found[tenant, lane].queued, cap) for tenant, n in turns.items()}
        light = {tenant for tenant, _ in pairs if is_light(found[tenant, lane].queued, found[tenant, lane].running)}
        return {tenant: n for tenant, n in kept.items() if n}, light

    def _do(self, step: Callable[[Connection], T]) -> T:
        return self._database.retry_until_answered(lambda connection: step(connection), within_s=5)

    def _listening(self, step: Callable[[Connection], T]) -> T:
        """Do a step and notice when Postgres did not answer meanwhile. For steps that are short by themselves."""
        began = time.monotonic()
        try:
            return self._do(step)
        except ServiceError:
            self._listening_since = time.monotonic()
            raise
        finally:
            if time.monotonic() - began > _GAP * self._worker_silent_s:
                self._listening_since = time.monotonic()


def _sum(turns: Turns) -> int:
    return sum(n for of_lane in turns.values() for n in of_lane.values())
