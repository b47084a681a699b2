"""Enqueue one by one, jobs/s of one client, ours beside each peer, in turns.

    python -m benchmarks.peers.enqueue [--only taskiq …] [--jobs 500] [--rounds 9] [--json FILE]

Not the same promise: dramatiq, Celery and taskiq put a message into Redis's memory, which a crash forgets; ours has
checked, committed and flushed a job before it offers it. Procrastinate, durable as ours, takes part when it is named;
``python -m benchmarks.enqueue`` holds ours against it, also in bulk.
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
    parser.set_defaults(rounds=9, only=["celery", "dramatiq", "taskiq"])
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
            keep(given.json, "enqueue-one", guest.name, pairs)


if __name__ == "__main__":
    main()
