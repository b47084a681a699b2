"""No-op jobs a second with a backlog, ours beside each peer, in turns.

    python -m benchmarks.peers.consume [--only dramatiq …] [--jobs 3000] [--ours 1000] [--rounds 3] [--json FILE]

Two worker processes of eight slots, started first; then the backlog is put in, and counted from the first job's start
to the last one's end. **Not the same work**: a peer fetches a message, runs an empty function and acknowledges. Ours
takes a fair turn, claims, checks and reserves against three caps, asks a provider over HTTP (the simulator, on the same
two cores), prices the answer, stores it and settles. The ratio says what that costs, not who is faster at the same.
"""

from __future__ import annotations

from benchmarks.figures import keep
from benchmarks.peers.lineup import arguments, in_turns, ranged, sides
from benchmarks.peers.ours import Ours
from benchmarks.peers.side import Side

PROCESSES, SLOTS = 2, 8


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=3_000, help="a peer's jobs a round (3000)")
    parser.add_argument("--ours", type=int, default=1_000, help="our jobs a round (1000)")
    given = parser.parse_args()

    def measure(side: Side) -> float:
        jobs = range(given.ours if isinstance(side, Ours) else given.jobs)
        with side.workers(PROCESSES, SLOTS):
            side.send_all(jobs)
            spans = side.spans(jobs, within_s=120)
        rest = spans[len(spans) // 4 :] if isinstance(side, Ours) else spans
        return len(rest) / (max(one.ended for one in rest) - min(one.began for one in rest))

    with sides(given.only) as (ours, guests):
        everybody: list[Side] = [ours, *guests]
        rates = in_turns(everybody, given.rounds, measure)
    for side in everybody:
        print(f"{side.name:<16} {ranged(rates[side.name]):>28} jobs/s")
    for guest in guests:
        pairs = [mine / theirs for mine, theirs in zip(rates[ours.name], rates[guest.name], strict=True)]
        print(f"ours ÷ {guest.name:<16} {ranged(pairs, 2)}")
        keep(given.json, "consume", guest.name, pairs)


if __name__ == "__main__":
    main()
