"""Our side: the real client, worker processes, scheduler and provider simulator.

A job is a provider call that takes so many ms: begun when its claim is, ended when its books are settled. For each the
peers do one thing, run a function; ours checks a quoted price against three caps, reserves, calls over HTTP, prices
the usage and settles, in three durable transactions after the one that enqueued it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.peers.reports import Span
from benchmarks.rig import Rig

QUIET = 10


class Ours:
    """:class:`benchmarks.peers.side.Side`. Numbers are spread over ten quiet tenants; bulk is of a loud one."""

    name = "headrace"
    promise = "committed and flushed by Postgres, offered"

    def __init__(self, bench: Rig) -> None:
        self._bench = bench
        self._quiet = [bench.tenant(f"quiet-{n}") for n in range(QUIET)]
        self._loud = bench.tenant("loud")
        self._ids: dict[int, UUID] = {}
        self._sleep_ms: int | None = None
        with bench.ops.connection() as connection:
            connection.execute("update headrace.tenants set daily_cost_cap_usd = 1000000")
            connection.execute("update headrace.plans set user_share = 1")

    @contextmanager
    def workers(self, processes: int, slots: int) -> Iterator[None]:
        started = [self._bench.worker(threads=slots) for _ in range(processes)]
        try:
            for n in range(-4 * processes * slots, 0):  # connections open, plans are made
                self.send(n)
            self.spans(range(-4 * processes * slots, 0), within_s=60)
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(60)

    def send(self, number: int, sleep_ms: int = 0) -> None:
        self._calls_take(sleep_ms)
        self._ids[number] = self._bench.client.enqueue(**_request(self._quiet[number % QUIET], number))

    def send_each(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.send(number)

    def send_all(self, numbers: Iterable[int], sleep_ms: int = 0) -> None:
        self._calls_take(sleep_ms)
        wanted = list(numbers)
        batch = self._bench.client.enqueue_many(_request(self._loud, number) for number in wanted)
        assert not batch.refused, batch.refused[0]
        self._ids.update((number, one) for number, one in zip(wanted, batch.job_ids, strict=True) if one is not None)

    def spans(self, numbers: Sequence[int], *, within_s: float) -> list[Span]:
        return [Span(row["began"], row["ended"]) for row in self._ended(numbers, within_s)]

    def calls(self, numbers: Sequence[int]) -> list[float]:
        """When the first provider call of each of these jobs began, s since the epoch. They have ended."""
        return [row["called"] for row in self._ended(numbers, 0)]

    def empty(self) -> None:
        with psycopg.connect(self._bench.endpoints.require_owner()) as owner:
            owner.execute("delete from headrace.queue")
            owner.execute("delete from headrace.jobs where outcome is null")

    def _calls_take(self, ms: int) -> None:
        if ms != self._sleep_ms:
            self._bench.behave(openai={"latency_ms": ms})
            self._sleep_ms = ms

    def _ended(self, numbers: Sequence[int], within_s: float) -> list[dict[str, Any]]:
        ids = [self._ids[number] for number in numbers]
        give_up = time.monotonic() + within_s
        while True:
            with self._bench.ops.connection() as connection:
                (left,) = connection.execute(
                    "select count(*) as n from headrace.queue where id = any(%s)", [ids]
                ).fetchall()
                if left["n"] == 0:
                    break
            if time.monotonic() > give_up:
                raise TimeoutError(f"{left['n']} of {len(ids)} jobs did not end within {within_s:.0f} s")
            time.sleep(0.02 if left["n"] < 1_000 else 0.5)  # counting many costs what is measured
        with self._bench.ops.connection() as connection:
            rows = connection.execute(
                "select j.id, extract(epoch from first_claimed_at)::float as began,"
                " extract(epoch from ended_at)::float as ended, (select extract(epoch from min(r.created_at))::float"
                " from headrace.runs r where r.job_id = j.id) as called"
                " from headrace.jobs j where j.id = any(%s)",
                [ids],
            ).fetchall()
        found = {row["id"]: row for row in rows}
        return [found[one] for one in ids]


def _request(tenant: UUID, number: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant, "user_id": f"u-{number % 7}", "feature": "chat",
        "messages": [{"role": "user", "content": f"What is {number} plus {number}?"}],
    }  # fmt: skip
