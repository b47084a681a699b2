"""One scheduler process: its composition root.

    python -m console.processes.scheduler --parent 4711

SIGTERM ends it after the current chore; so does the loss of its parent, so that none outlives a killed ``headrace``.
"""

from __future__ import annotations

import argparse
import sys
import threading

import structlog

from console.composition import START_HINT, rates_from, wire_from
from console.processes.logs import configure_logs, log_uncaught
from console.processes.stop import StopRequests
from errors import HeadraceError, RetryableError
from settings import Settings, reveal
from storage.db.database import Database
from storage.db.logins import refuse_unsafe_role
from wording import needed
from workers.outbox.billing import Biller
from workers.outbox.stripe_meter import StripeMeter
from workers.scheduler import THREADS, Scheduler

MAX_DEATHS = 3
"""A job that was running when that many workers died counts as poison."""

_CONNECTIONS = THREADS + 1  # and one for billing

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
        run(settings, parent=given.parent)
    except HeadraceError as error:
        log.critical("scheduler.cannot_start", **error.as_dict())
        print(f"headrace scheduler: {error}", file=sys.stderr)  # noqa: T201
        return 1 if isinstance(error, RetryableError) else 2
    return 0


def run(settings: Settings, *, parent: int = 0) -> None:
    """Build the scheduler and let it work until told to stop.

    :raises ConfigurationError: a URL is not set or cannot be read.
    :raises ServiceError: Postgres or the wire does not answer; a running scheduler waits for them instead.
    :raises UnsafeRoleError: the role could bypass row-level security.
    """
    stopping = threading.Event()
    StopRequests(stopping.set, parent=parent, orphaned=lambda: log.warning("scheduler.orphaned")).start()
    ops_url = needed(reveal(settings.ops_database_url), "HEADRACE_OPS_DATABASE_URL", hint=START_HINT)
    wire = wire_from(settings)
    try:
        wire.facts()
        with Database(ops_url, connections=_CONNECTIONS, setting="HEADRACE_OPS_DATABASE_URL") as database:
            database.retry_until_answered(
                lambda connection: refuse_unsafe_role(
                    connection, setting="HEADRACE_OPS_DATABASE_URL", role="headrace_ops"
                ),
                within_s=START_WITHIN_S,
            )
            biller = threading.Thread(target=Biller(database, _meter(settings)).run, args=[stopping], name="billing")
            biller.start()  # beside the chores, because it may wait for Stripe
            try:
                Scheduler(
                    database=database,
                    wire=wire,
                    rates=rates_from(settings),
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
    """The meter to which usage is sent. Without a key, days are closed and their events wait."""
    key = reveal(settings.stripe_api_key)
    if key is None:
        return None
    return StripeMeter(key, event_name=settings.stripe_meter_event, base_url=settings.stripe_base_url)


if __name__ == "__main__":
    sys.exit(main())
