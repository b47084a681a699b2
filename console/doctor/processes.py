"""The running platform: jobs, workers, schedulers and their chores."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from console.doctor.finding import Finding, moment
from console.terminal.output import count_of
from settings import Settings
from storage.db.connect import Connection
from storage.fleet import chores, health, pauses, retention, schedulers, workers
from storage.fleet.schedulers import BY_SIGNAL, SchedulerProcess

SCHEDULER_ANSWERS_WITHIN_S = 2.0
LATE_S = 60.0
"""A chore that has not finished for that long, or for three of its intervals, is wrong."""
DELETED_WITHIN_DAYS = 1.0
"""A row that is older than its retention by that much is wrong."""
MOST_NAMED = 20
"""The most rows that were set aside to be named."""
MISSED_S = 3600.0
"""A scheduler that fell silent without stopping is missed for that long."""


def examine(settings: Settings, connection: Connection) -> Iterator[Finding]:
    """Check the jobs and the processes that have to work on them. As headrace_ops."""
    backlog = health.backlog(connection)
    oldest = "" if backlog.oldest_queued_s is None else f", the oldest for {backlog.oldest_queued_s:.0f} s"
    says = f"{backlog.queued} queued{oldest}; {backlog.scheduled} scheduled; {backlog.running} running"
    yield Finding("jobs", "ok", says)
    paused = pauses.list_pauses(connection)
    if paused:
        names = ", ".join(f"{one.kind} {one.name} since {moment(one.paused_at)}" for one in paused)
        first = paused[0]
        command = f"headrace resume --{first.kind} {shlex.quote(first.name)}"
        yield Finding("pauses", "note", f"paused: {names}", f"`{command}` lets it go on.")
    work = bool(backlog.queued or backlog.scheduled or backlog.running)
    alive = [one for one in workers.alive(connection, settings.worker_silent_s) if not one["draining"]]
    if alive:
        threads, running = (sum(one[name] for one in alive) for name in ("threads", "running"))
        there = f"{count_of(len(alive), 'process', 'processes')}, {count_of(threads, 'thread')}"
        yield Finding("workers", "ok", f"{there}, {count_of(running, 'job')} running")
    else:  # only wrong where there is work: a fleet may be scaled to zero
        yield Finding("workers", "wrong" if work else "note", "none is alive", "Start one: `headrace worker`.")
    yield from _schedulers(settings, connection, needed=work or bool(alive))
    yield from _set_aside(connection)
    yield _kept(settings, connection)
    yield _books(connection)


def _schedulers(settings: Settings, connection: Connection, *, needed: bool) -> Iterator[Finding]:
    """Check their heartbeats, and whether one answers a note: a process that lives may hang all the same."""
    known = schedulers.list_schedulers(connection)
    live = [one for one in known if one.silent_s <= settings.worker_silent_s]
    lost = [one for one in known if settings.worker_silent_s < one.silent_s <= MISSED_S]
    if health.scheduler_answers(connection, within_s=SCHEDULER_ANSWERS_WITHIN_S):
        says = f"{len(live)} alive, and one answered the note that was left for it"
        yield Finding("scheduler", "ok", says + _looks_alone(live))
        yield _chores(connection)
        return
    says = f"none answered the note that was left for it within {SCHEDULER_ANSWERS_WITHIN_S:g} s"
    if live:
        names = ", ".join(f"{one.host}:{one.pid}" for one in live)
        to_do = "Look for `scheduler.chore_` in its log; restart it if it hangs."
        yield Finding("scheduler", "wrong", f"{says}, although {names} sends heartbeats", to_do)
        yield _chores(connection)
    elif lost:
        last = f"the last one, {lost[0].host}:{lost[0].pid}, was last heard from {lost[0].silent_s:.0f} s ago"
        to_do = "It was killed or hangs. Start one: `headrace scheduler`."
        yield Finding("scheduler", "wrong", f"{says}; {last}", to_do)
    else:
        yield Finding("scheduler", "wrong" if needed else "note", says, "Start one: `headrace scheduler`.")


def _looks_alone(live: Sequence[SchedulerProcess]) -> str:
    """The reasons why jobs enqueued by SQL are found by polling alone, if that is so."""
    reasons = sorted({one.woken_by for one in live} - {BY_SIGNAL})
    if not live or len({one.woken_by for one in live} & {BY_SIGNAL}):
        return ""
    return f"; it polls for jobs enqueued by SQL every 200 ms, because no signal reaches it ({', '.join(reasons)})"


def _kept(settings: Settings, connection: Connection) -> Finding:
    rules = {
        "idempotency": settings.idempotency_days,
        "job_events": settings.history_days,
        "outbox": settings.history_days,
        "spend_buckets": retention.BUCKET_DAYS,
        "workers": retention.WORKER_DAYS,
        "schedulers": retention.WORKER_DAYS,
    }
    ages = asdict(retention.oldest(connection))
    late = [
        f"{table} has rows of {ages[table]:.1f} days, and its retention is {days}"
        for table, days in rules.items()
        if ages[table] is not None and ages[table] > days + DELETED_WITHIN_DAYS
    ]
    if late:
        return Finding("retention", "wrong", "; ".join(late), "Check the chores of the scheduler that delete old rows.")
    return Finding("retention", "ok", "no row is older than its retention")


def _books(connection: Connection) -> Finding:
    books = retention.books(connection)
    since = "no job yet" if books.oldest_days is None else f"the oldest job is {books.oldest_days:.0f} days old"
    return Finding("books", "ok", f"kept for good: {books.bytes / 1e9:.2f} GB; {since}")


def _chores(connection: Connection) -> Finding:
    wrong = []
    for chore in chores.list_chores(connection):
        late_s = max(3 * chore.every_s, LATE_S)
        if chore.done_s_ago is not None and chore.done_s_ago > late_s:
            why = f", which failed with {chore.last_error}" if chore.last_error is not None else ""
            wrong.append(f"{chore.name} last finished {chore.done_s_ago:.0f} s ago{why}")
        elif chore.failed_s_ago is not None and chore.failed_s_ago < LATE_S:
            wrong.append(f"{chore.name} failed {chore.failed_s_ago:.0f} s ago with {chore.last_error}")
    if wrong:
        return Finding("chores", "wrong", "; ".join(wrong), "Look for `scheduler.chore_fault` in the scheduler's log.")
    return Finding("chores", "ok", "each finished when it was due")


def _set_aside(connection: Connection) -> Iterator[Finding]:
    aside = chores.aside(connection, limit=MOST_NAMED + 1)
    for one in aside[:MOST_NAMED]:
        what = f"job {one.job_id}" if one.job_id is not None else "all that waits"
        says = f"{one.chore} skips {what} of tenant {one.tenant_id} since {moment(one.first_at)}: {one.error}"
        yield Finding("set aside", "wrong", says, "It is tried again within the hour; report the error if it stays.")
    if len(aside) > MOST_NAMED:
        yield Finding("set aside", "wrong", f"more than {MOST_NAMED} rows", "The table headrace.set_aside has them.")
