"""Quiet tenants' wait for the start, beside a flood of one tenant and without it: p99, ours and plain queues, in ms.

    python -m benchmarks.peers.noisy_neighbour [--flood 3000] [--ours 100000] [--sleep-ms 200] [--json FILE]

Two worker processes of eight slots, jobs of 200 ms (a sleep; ours a provider's answer), so at most 80 a second. The
flood is put in first; then ten quiet jobs a second, of ten tenants, for as many as ``--samples``. A plain queue knows
no tenants, so a quiet job waits for all of the flood before it; its p99 grows with the flood, ours does not, which is
why ours may meet a bigger one. A run is bounded: a peer's by the flood's length, ours by the samples, after which what
is left of the flood is dropped.
"""

from __future__ import annotations

import random
import statistics
import time

from benchmarks.figures import keep
from benchmarks.peers.lineup import arguments, p99, sides
from benchmarks.peers.ours import Ours
from benchmarks.peers.side import Side

PROCESSES, SLOTS, PER_S = 2, 8, 10.0
FIRST_OF_FLOOD = 1_000_000


def quiet_waits(side: Side, numbers: range, sleep_ms: int, *, within_s: float) -> list[float]:
    """Waits of quiet jobs that come at random, ms."""
    dice, asked = random.Random(1), []
    for number in numbers:
        asked.append(time.time())
        side.send(number, sleep_ms)
        time.sleep(dice.expovariate(PER_S))
    began = [span.began for span in side.spans(numbers, within_s=within_s)]
    return [(start - call) * 1000 for start, call in zip(began, asked, strict=True)]


def told(name: str, what: str, waits: list[float]) -> float:
    tail = p99(waits)
    print(f"{name:<16} {what:<24} median {statistics.median(waits):10.1f} ms   p99 {tail:10.1f} ms", flush=True)
    return tail


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--flood", type=int, default=3_000, help="jobs of the flood before a peer (3000)")
    parser.add_argument("--ours", type=int, default=100_000, help="jobs of the flood before ours (100000)")
    parser.add_argument("--sleep-ms", type=int, default=200, help="what a job takes (200)")
    parser.add_argument("--samples", type=int, default=200, help="quiet jobs (200)")
    parser.set_defaults(rounds=1)
    given = parser.parse_args()
    drained_s = 60 + 20 * given.flood * given.sleep_ms / 1000 / (PROCESSES * SLOTS)

    with sides(given.only) as (ours, guests):
        everybody: list[Side] = [ours, *guests]
        for n in range(given.rounds):
            for side in everybody:
                flood = given.ours if isinstance(side, Ours) else given.flood
                with side.workers(PROCESSES, SLOTS):
                    first = n * 10 * given.samples
                    alone = range(first, first + given.samples)
                    without = told(side.name, "alone", quiet_waits(side, alone, given.sleep_ms, within_s=60))
                    side.send_all(range(FIRST_OF_FLOOD, FIRST_OF_FLOOD + flood), given.sleep_ms)
                    beside = range(alone.stop, alone.stop + given.samples)
                    waits = quiet_waits(side, beside, given.sleep_ms, within_s=drained_s)
                    ratio = told(side.name, f"flood of {flood:,}", waits) / without
                side.empty()
                print(f"{side.name:<16} p99 beside the flood ÷ alone: {ratio:,.1f}", flush=True)
                keep(given.json, "noisy-neighbour", f"{side.name}\n({flood:,})", [ratio])


if __name__ == "__main__":
    main()
