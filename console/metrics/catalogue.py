"""Every metric, declared once: its name, kind, labels, meaning, and how it is read off a snapshot.

docs/reference/metrics.md lists them; a test proves that page and catalogue agree. No label names a tenant, a user or a
job: the number of series is bounded by lanes, reasons, outcomes and models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from storage.fleet.metrics import Snapshot
from storage.jobs.jobs import State

Sample = tuple[tuple[str, ...], float]
"""Values of the labels, in their order, and the figure."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``kind`` is ``gauge`` or ``counter`` (one that starts anew at midnight UTC, as after a restart)."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]
    read: Callable[[Snapshot], Iterable[Sample]]


def _one(value: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda now: [((), value(now))]


METRICS: Final = (
    Metric(
        "headrace_load",
        "gauge",
        "(running + runnable) / capacity: above 1, work waits for threads; scale on this",
        (),
        _one(lambda now: now.load),
    ),
    Metric(
        "headrace_capacity_threads",
        "gauge",
        "Threads of live workers that take work",
        (),
        _one(lambda now: now.fleet.threads),
    ),
    Metric(
        "headrace_workers",
        "gauge",
        "Live worker processes: working (they take work) or draining",
        ("state",),
        lambda now: [(("working",), now.fleet.working), (("draining",), now.fleet.draining)],
    ),
    Metric(
        "headrace_running_jobs",
        "gauge",
        "Jobs that run",
        ("lane",),
        lambda now: [((lane,), jobs) for lane, jobs in now.running.items()],
    ),
    Metric(
        "headrace_runnable_jobs",
        "gauge",
        "Jobs that a free thread could run now; counted up to 20000, evenly over tenants and lanes",
        ("lane",),
        lambda now: [((one.lane,), one.runnable) for one in now.lanes],
    ),
    Metric(
        "headrace_longest_wait_seconds",
        "gauge",
        "The longest that a job has waited which is the next of its tenant",
        ("lane",),
        lambda now: [((one.lane,), one.longest_s) for one in now.lanes],
    ),
    Metric(
        "headrace_waiting_jobs",
        "gauge",
        "Jobs that wait for a time or for room, by reason; at most 10000 of each kind are counted",
        ("reason",),
        lambda now: [((reason,), jobs) for reason, jobs in now.waiting.items()],
    ),
    Metric(
        "headrace_recent_ended_jobs",
        "gauge",
        "Of the newest 10000 jobs that came in within 15 minutes, those that have ended",
        ("outcome",),
        lambda now: [((one.value,), now.ended.get(one.value, 0)) for one in State if one.ended],
    ),
    Metric(
        "headrace_calls_total",
        "counter",
        "Settled calls since midnight UTC",
        ("provider", "model", "status"),
        lambda now: [
            ((one.provider, one.model, status), value)
            for one in now.calls
            for status, value in (("succeeded", one.succeeded), ("failed", one.failed))
        ],
    ),
    Metric(
        "headrace_spend_usd_total",
        "counter",
        "What settled calls cost since midnight UTC, USD",
        ("provider", "model"),
        lambda now: [((one.provider, one.model), float(one.cost_usd)) for one in now.calls],
    ),
    Metric(
        "headrace_oldest_heartbeat_seconds",
        "gauge",
        "Time since the last heartbeat of the live worker that was heard of longest ago; 0 without workers",
        (),
        _one(lambda now: now.fleet.oldest_heartbeat_s),
    ),
    Metric(
        "headrace_schedulers",
        "gauge",
        "Live scheduler processes: those heard of lately that have not stopped",
        (),
        _one(lambda now: now.fleet.schedulers),
    ),
    Metric(
        "headrace_scheduler_behind_seconds",
        "gauge",
        "For how long something due, or enqueued by SQL, has waited for a scheduler to see to it; 0 when nothing does",
        (),
        _one(lambda now: now.fleet.behind_s),
    ),
    Metric(
        "headrace_scheduler_chore_failures_total",
        "counter",
        "Passes of a chore that ended with an unexpected error, of all schedulers together",
        ("chore",),
        lambda now: [((one.name,), one.failures) for one in now.chores],
    ),
    Metric(
        "headrace_scheduler_chore_age_seconds",
        "gauge",
        "Time since a chore last got through, to 10 s",
        ("chore",),
        lambda now: [((one.name,), one.done_s_ago) for one in now.chores if one.done_s_ago is not None],
    ),
    Metric(
        "headrace_scheduler_set_aside",
        "gauge",
        "What chores have set aside for what a row carries; at most 1000 are counted",
        (),
        _one(lambda now: now.set_aside),
    ),
)
