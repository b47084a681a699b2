"""A worker's pipeline inside the test's own process: one turn after the other, each done when ``run`` returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from queues.turns import Turn, Wire
from router.breakers import Breakers
from router.gateway import Gateway, build_providers
from router.policy import load_policy
from router.pseudonyms import Pseudonyms
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet import workers
from tests.support.fleet import Fleet, Urls
from workers.backoff import Backoff
from workers.pipeline import Pipeline
from workers.turn_account import TurnAccount

WELL = {"fault": "none", "latency_ms": 0}


@contextmanager
def one_simulator(directory: Path) -> Iterator[Fleet]:
    """A simulator for many tests, and nothing else: starting one costs more than most of them."""
    fleet = Fleet(Urls("", "", "", "", ""), directory)
    try:
        fleet.simulator()
        yield fleet
    finally:
        fleet.close()


def fresh(simulator: Fleet) -> Fleet:
    """The same simulator, in good health and with an empty journal."""
    simulator.behave(openai=WELL, anthropic=WELL)
    simulator._http("DELETE", "/_sim/journal")
    return simulator


def turn(tenant: UUID) -> Turn:
    """A tenant's turn on the interactive lane."""
    return Turn(str(tenant), "interactive", 0.0)


def pipeline(database: Database, ops: Database, wire: Wire, simulator: Fleet, **changes: Any) -> Pipeline:
    """A pipeline over ``database`` and the simulator; its worker is registered as alive.

    Never more than 20 ms of backoff, so that what is due is due soon.
    """
    worker_id = new_id()
    with ops.connection() as connection:
        workers.heartbeat(connection, worker_id, host="here", pid=1, threads=1)
    url = simulator.simulator_url
    parts: dict[str, Any] = {
        "worker_id": worker_id,
        "database": database,
        "turns": TurnAccount(wire, turns_per_tenant=64),
        "gateway": Gateway(
            build_providers("sim-openai", f"{url}/v1", "sim-anthropic", url), Breakers(fail_max=5, reset_s=10)
        ),
        "policy": load_policy(None),
        "pseudonyms": Pseudonyms(b"of a test"),
        "backoff": Backoff(max_attempts=3, base_s=0.02, cap_s=0.02),
        "call_timeout_s": 30.0,
        "claim_timeout_s": 300.0,
        "draining": threading.Event(),
    }
    return Pipeline(**{**parts, **changes})
