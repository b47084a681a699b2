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
    """One metric; ``kind`` is ``gauge`` or ``counter`` (it restarts from zero at midnight UTC, as after a restart)."""

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
        "(running + runnable) / capacity. Above 1, jobs wait for threads. Scale on this.",
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
        "Live worker processes: working (they claim jobs) or draining",
        ("state",),
        lambda now: [(("working",), now.fleet.working), (("draining",), now.fleet.draining)],
    ),
    Metric(
        "headrace_running_jobs",
        "gauge",
        "Running jobs",
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
        "Age of the oldest job that is next in line for its tenant",
        ("lane",),
        lambda now: [((one.lane,), one.longest_s) for one in now.lanes],
    ),
    Metric(
        "headrace_waiting_jobs",
        "gauge",
        "Jobs that wait for an instant or for room under a limit, by reason; at most 10000 of each kind are counted",
        ("reason",),
        lambda now: [((reason,), jobs) for reason, jobs in now.waiting.items()],
    ),
    Metric(
        "headrace_recent_ended_jobs",
        "gauge",
        "Ended jobs among the newest 10000 that were enqueued within 15 minutes",
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
        "Cost of settled calls since midnight UTC, USD",
        ("provider", "model"),
        lambda now: [((one.provider, one.model), float(one.cost_usd)) for one in now.calls],
    ),
    Metric(
        "headrace_oldest_heartbeat_seconds",
        "gauge",
        "Age of the oldest last heartbeat among live workers; 0 without workers",
        (),
        _one(lambda now: now.fleet.oldest_heartbeat_s),
    ),
    Metric(
        "headrace_schedulers",
        "gauge",
        "Live scheduler processes: their heartbeat is recent and they have not stopped",
        (),
        _one(lambda now: now.fleet.schedulers),
    ),
    Metric(
        "headrace_scheduler_behind_seconds",
        "gauge",
        "Time that the oldest due work, or job enqueued by SQL, has waited for a scheduler; 0 when none waits",
        (),
        _one(lambda now: now.fleet.behind_s),
    ),
    Metric(
        "headrace_scheduler_chore_failures_total",
        "counter",
        "Runs of a chore that ended with an unexpected error, over all schedulers",
        ("chore",),
        lambda now: [((one.name,), one.failures) for one in now.chores],
    ),
    Metric(
        "headrace_scheduler_chore_age_seconds",
        "gauge",
        "Time since a chore last finished, to 10 s",
        ("chore",),
        lambda now: [((one.name,), one.done_s_ago) for one in now.chores if one.done_s_ago is not None],
    ),
    Metric(
        "headrace_scheduler_set_aside",
        "gauge",
        "Rows that chores set aside because their content made a chore fail; at most 1000 are counted",
        (),
        _one(lambda now: now.set_aside),
    ),
)
