"""The simulated fleet: processes with slots that take turns, claim, run for a while on a logical clock, and settle.

Everything that decides is the real thing: the Lua on a real server, :class:`queues.consumer.TurnConsumer` with its
lanes, :class:`workers.turn_account.TurnAccount`, and with :mod:`benchmarks.fairness_sim.postgres` the claim. What is
simulated is time: events happen in the order of a logical clock, one after the other, so a run with the same seed is
the same run.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.fairness_sim.backlog import TURNS_PER_TENANT, Backlog, Held
from benchmarks.fairness_sim.jobs import Asked
from queues.consumer import TurnConsumer, turn_of
from queues.redis.wire import RedisWire
from queues.slots import Slots
from queues.turns import Turn
from workers.turn_account import TurnAccount

#: Logical times, s: from a turn's taking to its claim, from an offer to an idle process's look, and a call's length.
CLAIM_S, WAKE_S = 0.002, 0.001
CALL_S, TOKEN_S = 0.3, 0.004


class UnblockedWire(RedisWire):
    """The real wire, but no process blocks on it: the world tells idle processes when there is something."""

    def __init__(self, url: str, *, lanes: Mapping[str, int]) -> None:
        super().__init__(url, lanes=lanes, turns_per_tenant=TURNS_PER_TENANT)
        self.on_news: Callable[[], None] = lambda: None

    def offer_many(self, lane: str, turns: Mapping[str, int]) -> int:
        added = super().offer_many(lane, turns)
        if added:
            self.on_news()
        return added

    def wait_for_news(self, lanes: Iterable[str], timeout_s: float) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Started:
    """One job that was started: when (s), how long it had waited (s), and what it weighs in its tenant's share."""

    at: float
    taken_at: float  # when its turn was taken; the claim comes a moment later
    tenant: str
    job: Asked
    wait_s: float
    work: float  # what it really uses, tokens / weight


class _Process:
    def __init__(self, wire: UnblockedWire, slots: int) -> None:
        self.slots = Slots(slots)
        self.consumer = TurnConsumer(wire, self.slots, timeout_s=0)


class World:
    """Run it with :meth:`run`; look at :attr:`now` and be told of every start by ``on_start``."""

    def __init__(
        self,
        wire: UnblockedWire,
        backlog: Backlog,
        *,
        processes: int,
        slots: int,
        seed: int,
        on_start: Callable[[Started], object],
    ) -> None:
        self.now = 0.0
        self.dice = random.Random(seed)
        self.on_start = on_start
        self.on_end: Callable[[str, Asked], object] = lambda tenant, job: None
        self.waiting: Counter[str] = Counter()  # tenant → jobs put and not claimed yet
        self._wire = wire
        self._backlog = backlog
        self._account = TurnAccount(wire, turns_per_tenant=TURNS_PER_TENANT)
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._idle: deque[_Process] = deque()
        self._idle.extend(_Process(wire, slots) for _ in range(processes))
        wire.on_news = self._wake_one

    def at(self, time: float, event: Callable[[], object]) -> None:
        """Something happens then, which lies ahead."""
        assert time >= self.now
        heapq.heappush(self._events, (time, next(self._numbers), event))

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Something happens so much later."""
        self.at(self.now + seconds, event)

    def put(self, tenant: str, jobs: Sequence[Asked]) -> None:
        """A tenant enqueues, and offers after its commit."""
        self._backlog.put(tenant, jobs, self.now)
        self.waiting[tenant] += len(jobs)
        self.offer(tenant, jobs)

    def offer(self, tenant: str, jobs: Sequence[Asked]) -> None:
        """Turns for jobs that are in the backlog."""
        lanes: dict[str, int] = {}
        for job in jobs:
            lanes[job.lane] = lanes.get(job.lane, 0) + 1
        for lane, n in lanes.items():
            self._wire.offer(lane, tenant, n)

    def run(self, *, until: float = float("inf"), enough: Callable[[], bool] = lambda: False) -> None:
        """Let events happen until that time, until there are none, or until it is enough."""
        while self._events and self._events[0][0] <= until and not enough():
            self.now, _, event = heapq.heappop(self._events)
            event()

    def _wake_one(self) -> None:
        if self._idle:
            process = self._idle.popleft()
            self.after(WAKE_S, lambda: self._look(process))

    def _look(self, process: _Process) -> None:
        """The consumer's loop, up to where it would block."""
        while (message := next(process.consumer)) is not None:
            turn = turn_of(message)
            self.after(CLAIM_S * self.dice.uniform(0.5, 1.5), partial(self._claim, process, turn, self.now))
        if not process.slots.wait_free(0):
            self._wake_one()  # as take.lua passes the news on: there may be more than this process could take
        elif process not in self._idle:
            self._idle.append(process)

    def _claim(self, process: _Process, turn: Turn, taken_at: float) -> None:
        held = self._backlog.claim(turn.tenant, turn.lane, self.now)
        if held is None:
            self._account.claimed_nothing(turn)
            self._freed(process)
            return
        self.waiting[turn.tenant] -= 1
        charged = self._account.claimed(turn, held.claimed)
        work = held.job.tokens / held.claimed.weight
        self.on_start(Started(self.now, taken_at, turn.tenant, held.job, self.now - held.asked_at, work))
        seconds = CALL_S + held.job.tokens * TOKEN_S * self.dice.uniform(0.8, 1.2)
        self.after(seconds, partial(self._end, process, turn, held, charged))

    def _end(self, process: _Process, turn: Turn, held: Held, charged: float) -> None:
        self._backlog.end(turn.tenant, held)
        self._account.settled(turn, held.claimed, held.job.tokens, cpu_s=0.0, charged=charged, queued=False)
        self.on_end(turn.tenant, held.job)
        self._freed(process)

    def _freed(self, process: _Process) -> None:
        process.slots.release()
        self._look(process)
