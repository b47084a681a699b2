"""What is asked of the system meanwhile: jobs of several tenants, drawn from the seed, and a ledger of them.

Each job carries its number in the ledger as metadata, so that it is known again even where the answer to its enqueue
was lost and its id with it.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg

from errors import DeadlinePassedError, ServiceError
from producers import Client
from storage.catalogue import tenants
from storage.db.database import Database
from storage.jobs import jobs
from tests.chaos.stage import Stage

MARK = "chaos"
"""The key of a job's metadata that holds its number in the ledger."""

TENANTS: tuple[tuple[str, str, str | None], ...] = (
    ("roomy", "pro", None),
    ("large", "enterprise", None),
    ("plain", "free", None),
    ("tight", "pro", "0.020"),
    ("narrow", "free", "0.004"),
)
"""Name, plan and daily cap (USD; None: the plan's). The last two run into their caps, and their users into theirs."""

_STEP_S = 0.01
_USERS = 4
_WORDS = ("river", "gate", "wheel", "mill", "weir", "sluice", "spring", "flood", "pond", "stone")


class Fate(StrEnum):
    """What its producer knows of a job."""

    IN = "in"  # acknowledged: it must be there, once
    OUT = "out"  # refused or rolled back: it must not be there
    MAYBE = "maybe"  # the answer was lost: it may be there, once


@dataclass(slots=True)
class Entry:
    """One job that was asked for."""

    tenant_id: UUID
    fate: Fate
    job_id: UUID | None = None


@dataclass(slots=True)
class Ledger:
    """Every job that was asked for, by number."""

    entries: list[Entry] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    cancels: int = 0

    def add(self, tenant_id: UUID) -> int:
        self.entries.append(Entry(tenant_id, Fate.MAYBE))
        return len(self.entries) - 1

    def acknowledge(self, number: int, job_id: UUID) -> None:
        entry = self.entries[number]
        if entry.job_id not in (None, job_id):
            self.breaches.append(f"job {number} was acknowledged as {entry.job_id} and as {job_id}")
        entry.fate, entry.job_id = Fate.IN, job_id

    def refuse(self, number: int) -> None:
        if self.entries[number].fate is Fate.MAYBE:
            self.entries[number].fate = Fate.OUT

    def acknowledged(self) -> list[tuple[UUID, UUID]]:
        """Tenant and job of all that are surely in."""
        return [(entry.tenant_id, entry.job_id) for entry in self.entries if entry.job_id is not None]


class Producer:
    """Asks for jobs from a thread of its own, about ``per_s`` a second, until told to stop."""

    def __init__(self, stage: Stage, *, seed: int, per_s: float) -> None:
        self.ledger = Ledger()
        self._stage = stage
        self._dice = random.Random(f"load {seed}")
        self._per_s = per_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer")
        self._repeatable: list[tuple[int, dict[str, Any]]] = []
        with psycopg.connect(stage.urls.ops, autocommit=True) as connection:
            self._tenants = [
                tenants.add(
                    connection,
                    name=name,
                    plan=plan,
                    same_name=True,
                    daily_cap_usd=None if cap is None else Decimal(cap),
                )  # type: ignore[arg-type]
                for name, plan, cap in TENANTS
            ]

    def start(self) -> None:
        self._thread.start()

    def tell_to_stop(self) -> None:
        """Ask for nothing more."""
        self._stop.set()

    def wait(self) -> None:
        """Wait until the last answer is in."""
        self._thread.join()

    def _run(self) -> None:
        ways: tuple[tuple[int, Callable[[], int]], ...] = (
            (60, self._one),
            (8, self._many),
            (6, self._in_own_transaction),
            (8, self._keyed),
            (8, self._keyed_again),
            (10, self._cancel),
        )
        weights = [weight for weight, _ in ways]
        with Database(self._stage.urls.app, connections=1) as database:
            self._database = database
            while not self._stop.is_set():
                try:
                    asked = self._dice.choices(ways, weights)[0][1]()
                except Exception:  # noqa: BLE001 (whatever it is, the report shall have it)
                    self.ledger.breaches.append(f"the producer failed: {traceback.format_exc(limit=-4)}")
                    asked = 1
                self._stop.wait(max(_STEP_S, asked / self._per_s))

    # ------------------------------------------------------------------------------------------------- ways in

    def _one(self) -> int:
        tenant_id = self._dice.choice(self._tenants)
        self._send(self.ledger.add(tenant_id), self._request(tenant_id))
        return 1

    def _many(self) -> int:
        asked = [self._dice.choice(self._tenants) for _ in range(self._dice.randint(3, 20))]
        numbers = [self.ledger.add(tenant_id) for tenant_id in asked]
        requests = [self._request(tenant_id) | _mark(n) for n, tenant_id in zip(numbers, asked, strict=True)]
        try:
            batch = self._client.enqueue_many(requests)
        except ServiceError:
            return len(numbers)  # some may be in: those of the tenants that came first
        for number, job_id in zip(numbers, batch.job_ids, strict=True):
            if job_id is None:
                self.ledger.refuse(number)
            else:
                self.ledger.acknowledge(number, job_id)
        for refused in batch.refused:
            if not isinstance(refused.error, DeadlinePassedError):
                self.ledger.breaches.append(f"refused: {refused.error}")
        return len(numbers)

    def _in_own_transaction(self) -> int:
        """As a foreign service does it: its own connection, its own commit, or its own change of mind."""
        tenant_id = self._dice.choice(self._tenants)
        number, request = self.ledger.add(tenant_id), self._request(tenant_id)
        changes_its_mind = self._dice.random() < 0.3
        try:
            connection = psycopg.connect(self._stage.urls.producer, connect_timeout=2)
        except psycopg.OperationalError:
            self.ledger.refuse(number)
            return 1
        with connection:  # leaving it by an error rolls back
            try:
                job_id = self._client.enqueue(conn=connection, **request, **_mark(number))
            except (psycopg.OperationalError, DeadlinePassedError):
                self.ledger.refuse(number)
                connection.close()
                return 1
            if changes_its_mind:
                connection.close()
                self.ledger.refuse(number)
                return 1
            try:
                connection.commit()
            except psycopg.OperationalError:
                connection.close()  # whether it is in is not known
                return 1
            self.ledger.acknowledge(number, job_id)
        return 1

    def _keyed(self) -> int:
        tenant_id = self._dice.choice(self._tenants)
        number = self.ledger.add(tenant_id)
        request = self._request(tenant_id) | {"idempotency_key": f"key {number}"}
        self._repeatable.append((number, request))
        self._send(number, request)
        return 1

    def _keyed_again(self) -> int:
        """The same once more under the same key: it is the same job, whatever became of the first request."""
        if not self._repeatable:
            return 0
        number, request = self._dice.choice(self._repeatable)
        again = {name: value for name, value in request.items() if name not in ("deadline", "run_at")}
        if request["on_over_budget"] == "fail" and self.ledger.entries[number].fate is not Fate.OUT:
            self._send(number, again)
        return 1

    def _cancel(self) -> int:
        sure = self.ledger.acknowledged()
        if not sure:
            return 0
        tenant_id, job_id = self._dice.choice(sure[-10:])
        try:
            found = self._database.retry_until_answered(
                lambda connection: jobs.cancel(connection, tenant_id, job_id, by="chaos"), within_s=5
            )
        except ServiceError:
            return 1
        if found is None:
            self.ledger.breaches.append(f"job {job_id} was acknowledged, and a cancel does not find it")
        self.ledger.cancels += found in ("cancelled", "cancelling")
        return 1

    def _send(self, number: int, request: dict[str, Any]) -> None:
        try:
            self.ledger.acknowledge(number, self._client.enqueue(**request, **_mark(number)))
        except ServiceError:
            pass  # whether it is in is not known
        except DeadlinePassedError:
            self.ledger.refuse(number)

    @property
    def _client(self) -> Client:
        return self._stage.client

    # ------------------------------------------------------------------------------------------------- a request

    def _request(self, tenant_id: UUID) -> dict[str, Any]:
        dice = self._dice
        request: dict[str, Any] = {
            "tenant_id": tenant_id,
            "user_id": f"user-{dice.randrange(_USERS)}",
            "lane": "batch" if dice.random() < 0.2 else "interactive",
            "on_over_budget": "fail",
            "on_unknown": "fail" if dice.random() < 0.1 else "retry",
        }
        text = " ".join(dice.choices(_WORDS, k=dice.randint(5, 40)))
        if dice.random() < 0.3:
            request |= {
                "feature": "support_reply",
                "prompt": "support_reply",
                "variables": {"ticket": text, "customer": "Acme", "product": "Mill"},
            }
        else:
            request |= {
                "feature": "chat",
                "messages": [{"role": "user", "content": text}],
                "max_output_tokens": dice.choice((50, 100, 200)),
            }
            if dice.random() < 0.05:
                request["force_tier"] = "strong"
        now = datetime.now(UTC)
        if dice.random() < 0.1:
            request["run_at"] = now + timedelta(seconds=dice.uniform(0.2, 3.0))
        if dice.random() < 0.2:
            request["deadline"] = now + timedelta(seconds=dice.uniform(4.0, 15.0))
            # waits until the deadline at most, so that the schedule comes to an end
            request["on_over_budget"] = dice.choice(("fail", "wait"))
        return request


def _mark(number: int) -> dict[str, Any]:
    return {"metadata": {MARK: number}}
