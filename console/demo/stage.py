"""The events of the demo: tenants, incoming work, an outage. All go through the commands and APIs that users have."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from console.demo.cast import Customer
from errors import HeadraceError
from producers import Client
from storage.db.database import Database
from storage.money import report

TRICKLE = 6  # requests at a time of the tenants that do not flood
TRICKLE_PAUSE_S = 0.8


def command(env: Mapping[str, str], *arguments: str) -> str:
    """Run ``headrace …`` and return its output. Raises with the command's own words when it fails."""
    done = subprocess.run(  # noqa: S603 (our own command)
        [sys.executable, "-P", "-m", "console.main", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise HeadraceError(f"headrace {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def add_tenant(env: Mapping[str, str], customer: Customer) -> UUID:
    """``headrace tenants add``."""
    cap = [] if customer.daily_cap_usd is None else ["--daily-cap", str(customer.daily_cap_usd)]
    return UUID(command(env, "tenants", "add", customer.name, "--same-name", "--plan", customer.plan, *cap).strip())


def flood(env: Mapping[str, str], customer: Customer, tenant: UUID, directory: Path) -> None:
    """Enqueue all at once, as a backfill does: ``headrace jobs enqueue --file``."""
    file = directory / f"{customer.name.split()[0].lower()}.jsonl"
    file.write_text("".join(json.dumps({"tenant_id": str(tenant), **one}) + "\n" for one in customer.requests))
    command(env, "jobs", "enqueue", "--file", str(file))


def trickle(client: Client, work: Sequence[tuple[UUID, Customer]], stop: threading.Event) -> None:
    """Enqueue a few at a time, as a service does: ``enqueue_many`` from Python."""
    left = [(tenant, list(customer.requests)) for tenant, customer in work]
    while any(requests for _, requests in left) and not stop.is_set():
        for tenant, requests in left:
            now, requests[:] = requests[:TRICKLE], requests[TRICKLE:]
            batch = client.enqueue_many({"tenant_id": tenant, **one} for one in now)
            if batch.refused:
                raise batch.refused[0].error
        stop.wait(TRICKLE_PAUSE_S)


def outage(simulator_url: str, *, starts_when: Callable[[], bool], lasts_s: float, stop: threading.Event) -> None:
    """Let one provider answer 500 for a while, through the simulator's own switch, and then recover."""
    while not starts_when():
        if stop.wait(0.1):
            return
    try:
        behave(simulator_url, openai={"fault": "500"})
        stop.wait(lasts_s)
    finally:
        behave(simulator_url, openai={"fault": "none"})


def behave(simulator_url: str, **by_provider: Mapping[str, Any]) -> None:
    """Set the simulator's behaviour."""
    request = urllib.request.Request(  # noqa: S310 (the URL of our own simulator)
        f"{simulator_url}/_sim/behaviour",
        method="PUT",
        data=json.dumps(by_provider).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310
        pass


def watch(
    operations: Database,
    tenants: Sequence[UUID],
    expected: int,
    *,
    within_s: float,
    show: Callable[[Mapping[UUID, Mapping[str, int]]], None],
) -> bool:
    """Show the progress four times a second until every job ended; returns whether that was in time."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        states: dict[UUID, dict[str, int]] = {tenant: {} for tenant in tenants}
        with operations.connection() as connection:
            for row in report.progress(connection, tenants):
                states[row["tenant_id"]][row["state"]] = row["jobs"]
        show(states)
        if ended(states) >= expected:
            return True
        time.sleep(0.25)
    return False


def ended(states: Mapping[UUID, Mapping[str, int]]) -> int:
    """The number of jobs that have ended."""
    live = ("scheduled", "queued", "running")
    return sum(jobs for by_state in states.values() for state, jobs in by_state.items() if state not in live)
