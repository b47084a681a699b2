"""One scheduler process: its composition root.

    python -m console.processes.scheduler --parent 4711

SIGTERM ends it after the chore at hand; so does the loss of its parent, so that none outlives a killed ``headrace``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

import structlog

from console.processes.logs import configure_logs, log_uncaught
from console.processes.worker import rate_guard, wire_setting
from errors import ConfigurationError, HeadraceError, RetryableError
from queues.broker_url import open_wire
from settings import Settings, plain
from storage.db.database import Database
from storage.db.logins import refuse_unsafe_role
from workers.outbox.billing import Biller
from workers.outbox.stripe_meter import StripeMeter
from workers.scheduler import THREADS, Scheduler

MAX_DEATHS = 3
"""So many workers may die on a job before it counts as poison."""

_CONNECTIONS = THREADS + 1  # and one for billing
_ORPHAN_CHECK_S = 0.5
_TOLD_TWICE = 130
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

START_WITHIN_S = 10.0  # how long Postgres may be away during a start
log = structlog.get_logger("headrace.scheduler")


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM; the exit code.

    0: ended. 1: a service is away or a thread is gone, so start it again. 2: it cannot start.
    """
    parser = argparse.ArgumentParser(
        prog="python -m console.processes.scheduler", description="One Headrace scheduler."
    )
    parser.add_argument("--parent", type=int, default=0, help="end when this process is gone")
    given = parser.parse_args(arguments)
    settings = Settings()
    configure_logs(settings)
    log_uncaught()
    try:
        ops_url = _needed(plain(settings.ops_database_url), "HEADRACE_OPS_DATABASE_URL")
        wire_url = _needed(plain(settings.broker_url) or plain(settings.redis_url), "HEADRACE_REDIS_URL")
        run(settings, ops_url=ops_url, wire_url=wire_url, parent=given.parent)
    except HeadraceError as error:
        log.critical("scheduler.cannot_start", **error.as_dict())
        print(f"headrace scheduler: {error}", file=sys.stderr)  # noqa: T201
        return 1 if isinstance(error, RetryableError) else 2
    return 0


def run(settings: Settings, *, ops_url: str, wire_url: str, parent: int = 0) -> None:
    """Build the scheduler and let it work until told to stop.

    :raises ServiceError: Postgres or the wire does not answer; a running scheduler waits for them instead.
    :raises UnsafeRoleError: the role could bypass row-level security.
    """
    stopping = _told_to_stop(parent)
    wire = open_wire(
        wire_url,
        lanes=settings.lane_weights,
        turns_per_tenant=settings.turns_per_tenant,
        setting=wire_setting(settings),
    )
    try:
        wire.facts()
        with Database(ops_url, connections=_CONNECTIONS, setting="HEADRACE_OPS_DATABASE_URL") as database:
            database.patiently(
                lambda connection, _repeat: refuse_unsafe_role(
                    connection, setting="HEADRACE_OPS_DATABASE_URL", role="headrace_ops"
                ),
                within_s=START_WITHIN_S,
            )
            biller = threading.Thread(target=Biller(database, _meter(settings)).run, args=[stopping], name="billing")
            biller.start()  # beside the chores: it may wait for Stripe
            try:
                Scheduler(
                    database=database,
                    wire=wire,
                    rates=rate_guard(settings),
                    worker_silent_s=settings.worker_silent_s,
                    max_deaths=MAX_DEATHS,
                    turns_per_tenant=settings.turns_per_tenant,
                    idempotency_days=settings.idempotency_days,
                    history_days=settings.history_days,
                ).run(stopping)
            finally:
                stopping.set()
                biller.join()
    finally:
        wire.close()


def _meter(settings: Settings) -> StripeMeter | None:
    """Where usage is sent to; without a key, days are closed and their events wait."""
    key = plain(settings.stripe_api_key)
    if key is None:
        return None
    return StripeMeter(key, event_name=settings.stripe_meter_event, base_url=settings.stripe_base_url)


def _told_to_stop(parent: int) -> threading.Event:
    """Set by SIGTERM, SIGINT or SIGHUP, or when the parent is gone."""
    stopping = threading.Event()
    # Waited for by a thread: a handler would run inside the main thread's own wait and could find its lock taken.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    threading.Thread(target=_hear, args=[stopping], name="signals", daemon=True).start()
    if parent:
        threading.Thread(target=_watch, args=[parent, stopping], name="parent", daemon=True).start()
    return stopping


def _hear(stopping: threading.Event) -> None:
    signal.sigwait(_STOP_SIGNALS)
    stopping.set()
    signal.sigwait(_STOP_SIGNALS)
    os._exit(_TOLD_TWICE)  # leave at once; what it was at is rolled back


def _watch(parent: int, stopping: threading.Event) -> None:
    while not stopping.wait(_ORPHAN_CHECK_S):
        if os.getppid() != parent:
            log.warning("scheduler.orphaned")
            stopping.set()


def _needed(value: str | None, setting: str) -> str:
    if value is None:
        raise ConfigurationError(
            "is not set", field=setting, hint="Start it by `headrace scheduler`, or set it to the server's URL."
        )
    return value


if __name__ == "__main__":
    sys.exit(main())
