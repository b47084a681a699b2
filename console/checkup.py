"""What ``headrace doctor`` looks at, one function a part; each tells what it found and what to do about it.

A part that fails says so and the next one goes on: nothing here raises a :class:`errors.HeadraceError`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from console.provisioning import routed_models
from console.services.whereabouts import Endpoints, check_whole
from console.wire_trial import try_turn
from errors import HeadraceError
from queues.broker_url import open_wire
from router.policy import Policy, load_policy
from settings import Settings
from storage import chores, health, logins, pauses, retention, workers
from storage.connect import Connection, redacted
from storage.health import ServerFacts
from storage.migrate import LEAST_SERVER, pending
from storage.session import OPERATOR, OWNER, session

Verdict = Literal["ok", "note", "wrong"]

PREFIX = "HEADRACE_"
SCHEDULER_ANSWERS_WITHIN_S = 2.0
MOST_CLOCK_DIFFERENCE_S = 5.0
LEAST_MONTHS_AHEAD = 2
LATE_S = 60.0
"""A chore that has not got through for so long, or for three of its intervals, is wrong."""
DELETED_WITHIN_DAYS = 1.0
"""A row that is older than its rule by so much is wrong."""
MOST_NAMED = 20
"""So many rows that were set aside are named."""
_SLOW_S = 0.02
_KEY_FOR_ANY = "A provider without a key is not asked. A server that needs none takes any text as its key."


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part. A *note* is worth knowing; only *wrong* asks for something to be done."""

    part: str
    verdict: Verdict
    says: str
    to_do: str | None = None


def examine(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    """Look at every part, in the order in which they lean on each other."""
    yield from unknown_settings(os.environ)
    yield from _guarded("database (app)", lambda: _app(services))
    yield from _guarded("database (ops)", lambda: _ops(settings, services))
    yield from _guarded("database (owner)", lambda: _owner(services))
    yield from _guarded("wire", lambda: _wire(settings, services))
    yield from _guarded("providers", lambda: _providers(settings, services))


def unknown_settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables with our prefix that mean nothing: most are a slip of the pen, and their default holds instead."""
    known = {name.upper() for name in Settings.model_fields}
    ours = {name.upper().removeprefix(PREFIX) for name in environment if name.upper().startswith(PREFIX)}
    for name in sorted(ours - known):
        near = difflib.get_close_matches(name, known, n=1)
        to_do = f"Did you mean {PREFIX}{near[0]}?" if near else "docs/reference/settings.md lists every setting."
        yield Finding("settings", "note", f"{PREFIX}{name} is not a setting, and nothing reads it", to_do)


def _guarded(part: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except HeadraceError as error:
        where = f"{error.field}: " if error.field else ""
        yield Finding(part, "wrong", f"{where}{error.message} [{error.code}]", error.hint)


# -------------------------------------------------------------------------------------------------------- Postgres


def _app(services: Endpoints) -> Iterator[Finding]:
    part = "database (app)"
    with session(services.database_url) as connection:
        facts = health.server(connection)
        yield _server(part, services.database_url, facts, connection, embedded="postgres" in services.embedded)
        yield from _login(part, connection, "HEADRACE_DATABASE_URL", "headrace_app")
        yield _clock(facts)


def _ops(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    part = "database (ops)"
    url = services.require_ops()
    with session(url, setting=OPERATOR) as connection:
        facts = health.server(connection)
        yield _server(part, url, facts, connection, embedded="postgres" in services.embedded)
        yield from _login(part, connection, "HEADRACE_OPS_DATABASE_URL", "headrace_ops")
        if not facts.operator:
            return
        missing = pending(connection)
        if missing:
            yield Finding("migrations", "wrong", f"pending: {', '.join(missing)}", "Run `headrace migrate`.")
            return
        yield Finding("migrations", "ok", "none is pending")
        yield _calendar(connection)
        yield _prices(settings, connection)
        yield from _processes(settings, connection)


def _owner(services: Endpoints) -> Iterator[Finding]:
    part = "database (owner)"
    url = services.owner_database_url
    if url is None:
        yield Finding(part, "note", "HEADRACE_OWNER_DATABASE_URL is not set; only `headrace migrate` needs it")
        return
    with session(url, setting=OWNER) as connection:
        facts = health.server(connection)
        yield _server(part, url, facts, connection, embedded="postgres" in services.embedded)
        if not facts.owner:
            yield Finding(
                part,
                "wrong",
                f"the role {facts.role} is no member of headrace_owner",
                f"Grant it, as an administrator: grant headrace_owner to {facts.role};",
            )


def _server(part: str, url: str, facts: ServerFacts, connection: Connection, *, embedded: bool) -> Finding:
    trip_s = health.round_trip_s(connection)
    whose = "private" if embedded else "own"
    says = (
        f"PostgreSQL {facts.version} ({whose}) as {facts.role} at {redacted(url)}; "
        f"pgvector {facts.vector_version or 'missing'}; round trip {_ms(trip_s)}"
    )
    if facts.version_number < LEAST_SERVER:
        return Finding(part, "wrong", says, "Headrace needs PostgreSQL 18 or newer.")
    if facts.vector_version is None:
        return Finding(part, "wrong", says, "Install pgvector on the server, then run `headrace migrate`.")
    if trip_s > _SLOW_S:
        return Finding(part, "note", says, "A job makes four short transactions: bring the database nearer.")
    return Finding(part, "ok", says)


def _login(part: str, connection: Connection, setting: str, role: str) -> Iterator[Finding]:
    for one in logins.excess(connection, role=role):
        yield Finding(part, "wrong", one.says, f"{one.to_do} {setting} logs in as {role}.")


def _clock(facts: ServerFacts) -> Finding:
    difference_s = abs((facts.clock - datetime.now(UTC)) / timedelta(seconds=1))
    says = f"Postgres and this machine differ by {difference_s:.2f} s"
    if difference_s > MOST_CLOCK_DIFFERENCE_S:
        return Finding("clock", "wrong", says, "Let both follow NTP: ids and deadlines are made by this clock.")
    return Finding("clock", "ok", says)


def _calendar(connection: Connection) -> Finding:
    calendar = health.calendar(connection)
    says = f"partitions are made for {calendar.months_ahead} months ahead"
    if calendar.default_bytes:
        says += f"; the default partitions hold {calendar.default_bytes / 1e6:.1f} MB"
    if calendar.months_ahead < LEAST_MONTHS_AHEAD:
        to_do = "Is a scheduler running? It makes them; its event scheduler.partitions_missing says what is in the way."
        return Finding("calendar", "wrong", says, to_do)
    return Finding("calendar", "ok", says)


def _prices(settings: Settings, connection: Connection) -> Finding:
    models = sorted(routed_models(load_policy(settings.routing_policy)))
    unpriced = health.unpriced(connection, models)
    if unpriced:
        names = ", ".join(f"{provider}:{model}" for provider, model in unpriced)
        return Finding("prices", "wrong", f"no price for {names}: its jobs are rejected", "Run `headrace migrate`.")
    return Finding("prices", "ok", f"all {len(models)} models of the routing policy are priced")


def _processes(settings: Settings, connection: Connection) -> Iterator[Finding]:
    backlog = health.backlog(connection)
    oldest = "" if backlog.oldest_queued_s is None else f", the oldest for {backlog.oldest_queued_s:.0f} s"
    says = f"{backlog.queued} queued{oldest}; {backlog.scheduled} scheduled; {backlog.running} running"
    yield Finding("jobs", "ok", says)
    paused = pauses.list_pauses(connection)
    if paused:
        names = ", ".join(f"{one.kind} {one.name} since {_moment(one.paused_at)}" for one in paused)
        yield Finding("pauses", "note", f"paused: {names}", "`headrace resume` lets it go on.")
    # nobody at work is only wrong where there is work
    idle: Verdict = "wrong" if backlog.queued or backlog.scheduled or backlog.running else "note"
    alive = [one for one in workers.alive(connection, settings.worker_silent_s) if not one["draining"]]
    if alive:
        threads, running = (sum(one[name] for one in alive) for name in ("threads", "running"))
        yield Finding("workers", "ok", f"{len(alive)} processes, {threads} threads, {running} jobs running")
    else:
        yield Finding("workers", idle, "none is alive", "Start one: `headrace worker`.")
    if health.scheduler_answers(connection, within_s=SCHEDULER_ANSWERS_WITHIN_S):
        yield Finding("scheduler", "ok", "one took the note that was left for it")
        yield _chores(connection)
    else:
        says = f"none took the note that was left for it within {SCHEDULER_ANSWERS_WITHIN_S:g} s"
        yield Finding("scheduler", idle, says, "Start one: `headrace scheduler`.")
    yield from _set_aside(connection)
    yield _kept(settings, connection)
    yield _books(connection)


def _kept(settings: Settings, connection: Connection) -> Finding:
    rules = {
        "idempotency": settings.idempotency_days,
        "job_events": settings.history_days,
        "outbox": settings.history_days,
        "spend_buckets": retention.BUCKET_DAYS,
        "workers": retention.WORKER_DAYS,
    }
    ages = asdict(retention.oldest(connection))
    late = [
        f"{table} has rows of {ages[table]:.1f} days, and its rule is {days}"
        for table, days in rules.items()
        if ages[table] is not None and ages[table] > days + DELETED_WITHIN_DAYS
    ]
    if late:
        return Finding("retention", "wrong", "; ".join(late), "Look how the scheduler's chores do that forget rows.")
    return Finding("retention", "ok", "no row is older than its rule")


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
            wrong.append(f"{chore.name} last got through {chore.done_s_ago:.0f} s ago{why}")
        elif chore.failed_s_ago is not None and chore.failed_s_ago < LATE_S:
            wrong.append(f"{chore.name} failed {chore.failed_s_ago:.0f} s ago with {chore.last_error}")
    if wrong:
        return Finding("chores", "wrong", "; ".join(wrong), "Look for `scheduler.chore_fault` in the scheduler's log.")
    return Finding("chores", "ok", "each got through when it was due")


def _set_aside(connection: Connection) -> Iterator[Finding]:
    aside = chores.aside(connection, limit=MOST_NAMED + 1)
    for one in aside[:MOST_NAMED]:
        what = f"job {one.job_id}" if one.job_id is not None else "all that waits"
        says = f"{one.chore} passes by {what} of tenant {one.tenant_id} since {_moment(one.first_at)}: {one.error}"
        yield Finding("set aside", "wrong", says, "It is tried again within the hour; report the error if it stays.")
    if len(aside) > MOST_NAMED:
        yield Finding("set aside", "wrong", f"more than {MOST_NAMED} rows", "The table headrace.set_aside has them.")


# ----------------------------------------------------------------------------------------------- wire and providers


def _wire(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    wire = open_wire(
        services.broker_url,
        lanes=settings.lane_weights,
        turns_per_tenant=settings.turns_per_tenant,
        setting=services.wire_setting,
    )
    try:
        facts = wire.facts()
    finally:
        wire.close()
    whose = "private" if "redis" in services.embedded and settings.broker_url is None else "own"
    eviction = "" if facts.eviction is None else f"{facts.eviction}; "
    says = f"{facts.server} ({whose}) at {facts.url}; {eviction}round trip {_ms(facts.round_trip_s)}"
    try_turn(services.broker_url, lanes=settings.lane_weights, setting=services.wire_setting)
    says += "; it took an offer and gave a turn"
    if facts.eviction in (None, "noeviction"):
        yield Finding("wire", "ok", says)
    elif facts.eviction == "unknown":
        yield Finding("wire", "note", says, "It does not tell its maxmemory-policy; it should be noeviction.")
    else:
        to_do = "Set maxmemory-policy to noeviction: a tenant whose turns are evicted waits for the sweep."
        yield Finding("wire", "wrong", says, to_do)


def _providers(settings: Settings, services: Endpoints) -> Iterator[Finding]:
    check_whole(settings, ("simulator",))
    policy = load_policy(settings.routing_policy)
    simulator = services.simulator_url
    if "simulator" in services.embedded or simulator is not None:
        whose = "private simulator" if "simulator" in services.embedded else f"simulator at {simulator}"
        to_do = "Set OPENAI_API_KEY or ANTHROPIC_API_KEY for real ones."
        yield Finding("providers", "note", f"the {whose} makes the answers up, and each is marked", to_do)
        yield from _routes(policy, {"openai", "anthropic"})
        return
    keys = {"openai": services.openai_api_key, "anthropic": services.anthropic_api_key}
    urls = {"openai": services.openai_base_url, "anthropic": services.anthropic_base_url}
    for name, key in keys.items():
        url = urls[name]
        says = ("a key is set" if key else "no key is set") + (f", at {redacted(url)}" if url else "")
        yield Finding(f"provider {name}", "ok" if key else "note", says, _KEY_FOR_ANY if url and not key else None)
    yield from _routes(policy, {name for name, key in keys.items() if key})


def _routes(policy: Policy, with_key: set[str]) -> Iterator[Finding]:
    for tier in policy.tiers.values():
        targets = [tier.primary] + ([tier.backup] if tier.backup else [])
        names = " then ".join(f"{one.provider}:{one.model}" for one in targets)
        reachable = [one for one in targets if one.provider in with_key]
        part = f"tier {tier.name}"
        if not reachable:
            yield Finding(part, "wrong", f"{names}: none has a key, so its jobs are rejected", "Set a key.")
        elif len(reachable) < 2:
            yield Finding(part, "note", f"{names}: only {reachable[0].provider} has a key, so nobody takes over")
        else:
            yield Finding(part, "ok", names)


def _moment(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"
