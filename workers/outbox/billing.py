"""Closes past days and sends their events to Stripe. Any number may run; each step is safe beside itself.

An event is counted once. Before a try its row says that Stripe may have it from now on; after an answer that was lost
it is sent again with the same identifier, by which Stripe knows it for a day. When that day is nearly over and nobody
knows still, the event is held until a person has looked (`headrace billing resolve`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import timedelta

import structlog

from errors import BillerError, BillerRefusedError, ServiceError
from storage.db.database import Database
from storage.money import billing, outbox
from storage.money.billing import ClosedDay
from storage.money.outbox import TakenEvent
from workers.backoff import Backoff
from workers.outbox.stripe_meter import TIMEOUT_S, MeterEvent, StripeMeter

LEASE_S = 120.0
OLDEST = timedelta(days=34)
"""Stripe takes an event up to 35 days after its time. An older one is sent with the time of sending: better in the
period that runs than in none."""

_CLOSE_EVERY_S = 600.0
_SEND_EVERY_S = 10.0
_POSTGRES_WITHIN_S = 5.0
_LEAST_AGAIN_S = 5.0
_LEAST_AGAIN_REFUSED_S = 60.0
_MOST_RETRY_AFTER_S = 3600.0
_MOST_DOUBLINGS = 20

log = structlog.get_logger("headrace.biller")


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of sending came to. ``stopped_by``: what made it end early, so that not all were tried."""

    sent: int = 0
    failed: int = 0
    stopped_by: BillerError | None = None


class Biller:
    """Does the billing of one process, as headrace_ops. Without a meter it closes days and sends nothing."""

    def __init__(self, database: Database, meter: StripeMeter | None, *, backoff: Backoff | None = None) -> None:
        self._database = database
        self._meter = meter
        self._backoff = backoff or Backoff(base_s=10.0, cap_s=900.0)

    def run(self, stopping: threading.Event) -> None:
        """Close and send when it is time, until ``stopping``. For a thread of its own: Stripe may keep it waiting."""
        close_at = 0.0
        while not stopping.is_set():
            try:
                if close_at <= time.monotonic():
                    close_at = time.monotonic() + _CLOSE_EVERY_S
                    self.close_days()
                if self._meter is not None:
                    self.send_some(stopping=stopping)
            except ServiceError as error:
                log.warning("billing.chore_failed", error=str(error))
            except Exception:  # the outermost loop: a bug must not end the billing for good
                log.exception("billing.fault")
            stopping.wait(_SEND_EVERY_S)

    def close_days(self) -> list[ClosedDay]:
        """Close every past day that can be closed."""
        closed = self._database.retry_until_answered(
            lambda connection: billing.close_days(connection), within_s=_POSTGRES_WITHIN_S
        )
        if closed:
            log.info("billing.days_closed", days=len(closed))
        return closed

    def send_some(self, *, limit: int = 1000, stopping: threading.Event | None = None) -> Round:
        """Try up to ``limit`` events that are due, one after the other.

        One that Stripe refuses is put off and stops nobody else; when it is Stripe or the key that will not do, the
        round ends.

        :raises PostgresUnavailableError: what was tried last is tried again later, with the same identifier.
        """
        assert self._meter is not None, "sending needs a meter"
        sent = failed = 0
        while sent + failed < limit and not (stopping is not None and stopping.is_set()):
            began = time.monotonic()
            taken = self._take()
            if taken is None:
                break
            if time.monotonic() - began > LEASE_S - TIMEOUT_S:
                break  # this process was held up: the event may be somebody else's by now
            try:
                known = not self._meter.record(_event(taken))
            except BillerError as error:
                failed += 1
                self._put_off(taken, error)
                if not isinstance(error, BillerRefusedError):
                    return Round(sent, failed, stopped_by=error)
            else:
                sent += 1
                self._sent(taken)
                log.info("billing.sent", **_facts(taken), known=known)
        return Round(sent, failed)

    def _take(self) -> TakenEvent | None:
        return self._database.retry_until_answered(
            lambda connection: outbox.take(connection, billing.METER_EVENT, lease_s=LEASE_S, sure_s=billing.SURE_S),
            within_s=_POSTGRES_WITHIN_S,
        )

    def _sent(self, taken: TakenEvent) -> None:
        self._database.retry_until_answered(
            lambda connection: outbox.mark_sent(connection, taken), within_s=_POSTGRES_WITHIN_S
        )

    def _put_off(self, taken: TakenEvent, error: BillerError) -> None:
        refused = isinstance(error, BillerRefusedError)
        asked_s = min(error.retry_after_s or 0.0, _MOST_RETRY_AFTER_S)
        least_s = max(_LEAST_AGAIN_REFUSED_S if refused else _LEAST_AGAIN_S, asked_s)
        again_in_s = self._backoff.delay_s(min(taken.attempt, _MOST_DOUBLINGS), at_least_s=least_s)
        self._database.retry_until_answered(
            lambda connection: outbox.mark_failed(
                connection, taken, error=str(error), again_in_s=again_in_s, received=error.received
            ),
            within_s=_POSTGRES_WITHIN_S,
        )
        log.warning(
            "billing.not_sent", **_facts(taken), code=error.code, error=str(error), again_in_s=round(again_in_s, 1)
        )


def _event(taken: TakenEvent) -> MeterEvent:
    """The event as it is sent now."""
    timestamp, now = int(taken.payload["timestamp"]), int(taken.taken_at.timestamp())
    return MeterEvent(
        identifier=taken.payload["identifier"],
        customer=taken.payload["payload"]["stripe_customer_id"],
        value=int(taken.payload["payload"]["value"]),
        timestamp=now if timestamp < now - OLDEST.total_seconds() else timestamp,
    )


def _facts(taken: TakenEvent) -> dict[str, object]:
    return {"tenant_id": str(taken.tenant_id), "day": taken.payload["day"], "attempt": taken.attempt}
