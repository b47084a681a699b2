"""The demo: the whole product on real input. It uses the same commands, roles and processes as any other use."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from console.demo import stage
from console.demo.cast import cast
from console.demo.closing import closing
from console.endpoints import Endpoints
from console.processes.supervisor import Processes, python
from producers.enqueue import connect
from settings import Settings
from storage.db.database import Database

FLOODING_CAP_USD = Decimal("0.07")  # low enough that the flood reaches the cap
BAR_WIDTH = 12  # leaves room for the states' counts at 80 columns; a longer text would wrap
LATENCY_MS = (150, 450)
OUTAGE_S = 4.0
WITHIN_S = 150.0


def play(
    console: Console,
    endpoints: Endpoints,
    env: Mapping[str, str],
    directory: Path,
    *,
    real_limit: int | None = None,
    real_cap_usd: Decimal | None = None,
) -> bool:
    """Run the demo; returns whether every job ended and the books agree. ``real_…``: see
    :func:`console.demo.cast.cast`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    customers = cast(flooding_cap_usd=FLOODING_CAP_USD, real_limit=real_limit, real_cap_usd=real_cap_usd)
    settings = Settings.model_validate(
        {"database_url": endpoints.database_url, "redis_url": endpoints.redis_url, "broker_url": endpoints.broker_url}
    )
    client = connect(settings)
    with Processes(dict(env), logs=directory) as processes, Database(endpoints.require_ops()) as operations:
        processes.start("worker", python("console.main", "worker", "--processes", "2", "--threads", "4"))
        processes.start("scheduler", python("console.main", "scheduler"))
        if endpoints.simulator_url:
            stage.behave(
                endpoints.simulator_url,
                openai={"latency_ms": LATENCY_MS, "fault": "none"},
                anthropic={"latency_ms": LATENCY_MS, "fault": "none"},
            )
        tenants = {stage.add_tenant(env, customer): customer for customer in customers}
        flooding = next(tenant for tenant, customer in tenants.items() if customer.floods)
        steady = [(tenant, customer) for tenant, customer in tenants.items() if not customer.floods]
        expected = sum(len(customer.requests) for customer in customers)
        console.print(
            f"{expected} jobs of {len(customers)} tenants; {customers[0].name} enqueues all of its at once. "
            f"2 worker processes of 4 threads, one scheduler; their logs are in {directory}."
        )
        progress = Progress(
            TextColumn("{task.description:<18}"), BarColumn(BAR_WIDTH), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[states]}", table_column=Column(overflow="fold")), console=console,
        )  # fmt: skip
        bars = {
            tenant: progress.add_task(customer.name, total=len(customer.requests), states="")
            for tenant, customer in tenants.items()
        }
        seen = {"ended": 0}

        def show(states: Mapping[UUID, Mapping[str, int]]) -> None:
            seen["ended"] = stage.ended(states)
            for tenant, by_state in states.items():
                facts = ", ".join(f"{jobs} {state}" for state, jobs in sorted(by_state.items()))
                progress.update(bars[tenant], completed=stage.ended({tenant: by_state}), states=facts)

        stop = threading.Event()
        with progress, ThreadPoolExecutor(3) as hands:
            started = time.monotonic()
            coming = [
                hands.submit(stage.flood, env, tenants[flooding], flooding, directory),
                hands.submit(stage.trickle, client, steady, stop),
            ]
            if endpoints.simulator_url:
                coming.append(
                    hands.submit(
                        stage.outage, endpoints.simulator_url, lasts_s=OUTAGE_S, stop=stop,
                        starts_when=lambda: seen["ended"] > expected // 5,
                    )
                )  # fmt: skip
            try:
                in_time = stage.watch(operations, list(tenants), expected, within_s=WITHIN_S, show=show)
            finally:
                stop.set()
            for one in coming:
                one.result()
        client.close()
        console.print(f"{expected} jobs in {time.monotonic() - started:.1f} s.\n")
        if not in_time:
            console.print(f"[red]Not every job ended within {WITHIN_S:.0f} s[/red]; the logs in {directory} say why.")
        with operations.connection() as connection:
            agree = closing(console, connection, list(tenants), flooder=tenants[flooding].name)
    return in_time and agree
