"""Quiet tenants' waits, created → claimed, beside one tenant's flood and without it: median and p99, in ms.

    python -m benchmarks.noisy_neighbour                              a flood of 100,000 jobs, on Redis
    python -m benchmarks.noisy_neighbour 10000 --wire rabbitmq        a smaller one, on a RabbitMQ node of its own
    python -m benchmarks.noisy_neighbour --ordinary 5                 other tenants keep the fleet busy on both sides

Ten quiet tenants ask for one job now and then, ten in a second among them; calls take 0.2 to 0.6 s, on two processes
of 24 threads. Rounds alternate: the flood paused, the flood running; so both sides meet the same machine and the same
tables. Under the flood every slot is busy, so a quiet job waits for the next call that ends; what a plain queue would
make it wait (the flood's jobs at the rate at which they were done) is printed beside it.

The waits are those of a busy machine, which stalls at times with all that runs on it. How many jobs of the flood were
begun while a quiet one waited tells of the queues alone.

Without a flood an idle fleet has threads to spare, and a wait is no more than a commit and a wake; with one it is that
of the next slot, whatever the queue does. With ``--ordinary`` tenants of some work each, no slot is free without the
flood either: then the ratio says what the flood adds.

On RabbitMQ a lane is a number of partitions. Some of the quiet tenants (``--sharing``, one of ten) have the flood's as
their own, which is more than chance would give them; their waits are told apart as well.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import time
from bisect import bisect
from dataclasses import dataclass
from uuid import UUID

from benchmarks.rig import Rig, rig
from console.pausing import pause, resume
from queues.rabbitmq.partitions import PARTITIONS, partition_of
from storage.db.database import Database
from storage.db.ids import new_id
from storage.fleet.pauses import PausableKind
from storage.jobs import jobs
from tests.support.rabbitmq import SERVER, PrivateRabbit

PROCESSES, THREADS = 2, 24
QUIET, PER_S = 10, 10.0
CHUNK = 2_000
APART_S = 5.0  # some calls' time: until then they are out of step
ESTIMATE = 520  # what the client estimates of the quiet tenants' jobs: all ask the same kind of thing
ORDINARY_PER_S = 150  # more than the fleet can do in a second


@dataclass(frozen=True, slots=True)
class Wait:
    """A quiet tenant's job, from created to claimed; both in seconds of Postgres's clock."""

    tenant: UUID
    created: float
    claimed: float

    @property
    def ms(self) -> float:
        return (self.claimed - self.created) * 1000


def flood(bench: Rig, database: Database, tenant: UUID, n: int) -> float:
    """Put so many jobs in, by the function that every way in ends in. How long that took, s."""
    started = time.monotonic()
    for start in range(0, n, CHUNK):
        rows = [
            {"id": str(new_id()), "user_id": f"u-{i % 50}", "feature": "chat", "estimated_tokens": ESTIMATE,
             "messages": [{"role": "user", "content": f"What is {i} plus {i}?"}]}
            for i in range(start, min(start + CHUNK, n))
        ]  # fmt: skip
        with database.connection() as connection:
            jobs.enqueue_batch(connection, tenant, rows, wake=True)
    return time.monotonic() - started


def quiet_waits(bench: Rig, tenants: list[UUID], samples: int, seed: int) -> list[Wait]:
    """Ask for so many jobs, and say how each waited."""
    dice = random.Random(seed)
    asked = []
    for _ in range(samples):
        tenant = dice.choice(tenants)
        asked.append(
            bench.client.enqueue(
                tenant_id=tenant, user_id="u", feature="chat", messages=[{"role": "user", "content": "What is 6 x 7?"}]
            )
        )
        time.sleep(dice.expovariate(PER_S))
    for tenant in tenants:
        bench.wait(tenant, 0)
    ids = ",".join(map(str, asked))
    rows = bench.query(
        "select tenant_id, extract(epoch from created_at) as created, extract(epoch from first_claimed_at) as claimed"
        f" from headrace.jobs where id = any('{{{ids}}}')"
    )
    assert len(rows) == samples
    return [Wait(row["tenant_id"], float(row["created"]), float(row["claimed"])) for row in rows]


def overtaken(bench: Rig, loud: UUID, waits: list[Wait]) -> list[int]:
    """How many jobs of the flood were begun while each of these waited, sorted."""
    rows = bench.query(
        f"select extract(epoch from first_claimed_at) as claimed from headrace.jobs where tenant_id = '{loud}'"
        " and first_claimed_at is not null order by first_claimed_at"
    )
    begun = [float(row["claimed"]) for row in rows]
    return sorted(bisect(begun, wait.claimed) - bisect(begun, wait.created) for wait in waits)


def told(name: str, waits: list[Wait]) -> float:
    """Print a line, and return the p99."""
    ms = sorted(wait.ms for wait in waits)
    p99 = ms[int(len(ms) * 0.99)]
    print(
        f"{name:<34} median {statistics.median(ms):7.1f} ms   p99 {p99:7.1f} ms   longest {ms[-1]:7.1f} ms", flush=True
    )
    return p99


def quiet_tenants(bench: Rig, loud: UUID, sharing: int) -> list[UUID]:
    """Ten, of whom so many hash to the partition of the flood."""
    found: dict[bool, list[UUID]] = {True: [], False: []}
    wanted = {True: sharing, False: QUIET - sharing}
    while any(len(found[kind]) < wanted[kind] for kind in found):
        tenant = bench.tenant(f"quiet-{len(found[True]) + len(found[False])}")
        found[shares(tenant, loud)].append(tenant)
    return found[True][:sharing] + found[False][: QUIET - sharing]


def shares(tenant: UUID, loud: UUID) -> bool:
    return partition_of(str(tenant)) == partition_of(str(loud))


def seconds(chosen: argparse.Namespace) -> int:
    """How long the rounds take, and some more."""
    return int((2 * chosen.rounds + 1) * chosen.samples / PER_S) + 30


def compare(bench: Rig, database: Database, chosen: argparse.Namespace) -> None:
    loud = bench.tenant("flood")
    on_rabbitmq = chosen.wire == "rabbitmq"
    tenants = quiet_tenants(bench, loud, chosen.sharing if on_rabbitmq else 0)
    with bench.ops.connection() as connection:
        connection.execute("update headrace.tenants set daily_cost_cap_usd = 1000000")
        connection.execute("update headrace.plans set user_share = 1")
    for number in range(chosen.ordinary):
        flood(bench, database, bench.tenant(f"ordinary-{number}"), ORDINARY_PER_S * seconds(chosen) // chosen.ordinary)
    for _ in range(PROCESSES):
        bench.worker(threads=THREADS)
    quiet_waits(bench, tenants, chosen.samples // 2, seed=0)  # connections open, plans are made
    pause(bench.endpoints, PausableKind.TENANT, str(loud))
    took = flood(bench, database, loud, chosen.jobs)
    print(f"{chosen.jobs:,} jobs were put in in {took:.0f} s", flush=True)
    alone: list[Wait] = []
    beside: list[Wait] = []
    done, busy_s = 0, 0.0
    for number in range(chosen.rounds):
        waits = quiet_waits(bench, tenants, chosen.samples, seed=number)
        told("the flood paused", waits)
        alone += waits
        resume(bench.settings, bench.endpoints, PausableKind.TENANT, str(loud))
        bench.wait_running(loud, at_least=PROCESSES * THREADS * 3 // 4 // (chosen.ordinary + 1))
        time.sleep(APART_S)  # none of the calls that began together can end before the shortest latency
        left, began = _queued(bench, loud), time.monotonic()
        waits = quiet_waits(bench, tenants, chosen.samples, seed=number)
        still = _queued(bench, loud)
        if still == 0:
            raise SystemExit("The flood ended before the quiet tenants had asked: give more jobs or fewer --samples.")
        done, busy_s = done + left - still, busy_s + time.monotonic() - began
        told(f"with {left:,} jobs queued", waits)
        beside += waits
        pause(bench.endpoints, PausableKind.TENANT, str(loud))
        bench.wait_running(loud, at_most=0)
    print(f"all {chosen.rounds} rounds")
    ratio = told("beside", beside) / told("alone", alone)
    if on_rabbitmq:
        for name, apart in ("beside, in another partition", False), ("beside, in the flood's partition", True):
            some = [wait for wait in beside if shares(wait.tenant, loud) is apart]
            if some:
                told(name, some)
        print(f"{PARTITIONS} partitions; {chosen.sharing} of {QUIET} quiet tenants share the flood's")
    ahead = overtaken(bench, loud, beside)
    median, p99, most = statistics.median(ahead), ahead[int(len(ahead) * 0.99)], ahead[-1]
    print(f"jobs of the flood begun while a quiet one waited: median {median:.0f}, p99 {p99}, most {most}")
    print(f"ratio of the p99s on {chosen.wire}: {ratio:.2f}")
    rate = done / busy_s
    print(f"{still:,} were left at the end; {rate:.0f} of them done in a second.")
    print(f"In one queue for all, a quiet job would have waited {still / rate:,.0f} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("jobs", type=int, nargs="?", default=100_000, help="the flood; some 6,000 last a round")
    parser.add_argument("--wire", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=300, help="quiet jobs on each side of a round")
    parser.add_argument("--latency-ms", type=int, nargs=2, default=[200, 600], metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--ordinary", type=int, default=0, help="tenants that keep the fleet busy on both sides")
    parser.add_argument("--sharing", type=int, default=1, help="quiet tenants in the flood's partition (RabbitMQ)")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as open_:
        broker_url = None
        if chosen.wire == "rabbitmq":
            if not SERVER.exists():
                raise SystemExit("There is no RabbitMQ on this machine: apt-get install rabbitmq-server.")
            broker_url = open_.enter_context(PrivateRabbit()).url
        bench = open_.enter_context(rig(broker_url=broker_url))
        database = open_.enter_context(Database(bench.endpoints.database_url, connections=1))
        # each call draws its own: calls that begin together must not end together, round after round
        bench.behave(openai={"latency_ms": chosen.latency_ms})
        compare(bench, database, chosen)


def _queued(bench: Rig, tenant: UUID) -> int:
    rows = bench.query(f"select count(*) as n from headrace.queue where tenant_id = '{tenant}' and state = 'queued'")
    return int(rows[0]["n"])


if __name__ == "__main__":
    main()
