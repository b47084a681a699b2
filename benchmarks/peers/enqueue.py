"""Enqueue one by one, jobs/s of one client, ours beside each peer, in turns.

    python -m benchmarks.peers.enqueue [--only taskiq …] [--jobs 500] [--rounds 5] [--json FILE]

Not the same promise: see the column. dramatiq, Celery and taskiq put a message into Redis's memory; ours has committed
and flushed a job with its limits checked before it offers it, as Procrastinate has committed its row.
"""

from __future__ import annotations

import time

from benchmarks.figures import keep
from benchmarks.peers.lineup import arguments, in_turns, ranged, sides
from benchmarks.peers.side import Side

_WARM = 50


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="jobs a round (500)")
    parser.set_defaults(rounds=5)
    given = parser.parse_args()
    jobs: int = given.jobs

    def measure(side: Side) -> float:
        side.send_each(range(_WARM))
        started = time.perf_counter()
        side.send_each(range(_WARM, _WARM + jobs))
        return jobs / (time.perf_counter() - started)

    with sides(given.only) as (ours, guests):
        everybody: list[Side] = [ours, *guests]
        rates = in_turns(everybody, given.rounds, measure)
        for side in everybody:
            print(f"{side.name:<16} {ranged(rates[side.name]):>28} jobs/s   {side.promise}")
        for guest in guests:
            pairs = [mine / theirs for mine, theirs in zip(rates[ours.name], rates[guest.name], strict=True)]
            print(f"ours ÷ {guest.name:<16} {ranged(pairs, 2)}")
            keep(given.json, "enqueue-one", f"{guest.name}\n({_short(guest.promise)})", pairs)


def _short(promise: str) -> str:
    return "durable" if "committed" in promise else "not durable"


if __name__ == "__main__":
    main()
