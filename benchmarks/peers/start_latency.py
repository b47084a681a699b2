"""From the enqueue call to the start of the job on an idle system, ours beside each peer, in turns: median and p99, ms.

    python -m benchmarks.peers.start_latency [--only celery …] [--jobs 60] [--rounds 3] [--json FILE]

Two worker processes of four slots; one job after the other, each when the one before has ended and a pause has passed
in which workers fall idle (a tenth to half a second, drawn). Both instants are the machine's one wall clock: before the
call, and a peer's first line in the job; ours at its claim, and, beside it, when the provider is called.
"""

from __future__ import annotations

import random
import statistics
import time

from benchmarks.figures import keep
from benchmarks.peers.lineup import arguments, in_turns, p99, ranged, sides
from benchmarks.peers.ours import Ours
from benchmarks.peers.side import Side

PROCESSES, SLOTS = 2, 4
CALL = "headrace, call to provider"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="jobs a round (60)")
    given = parser.parse_args()
    waits: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}

    def measure(side: Side) -> float:
        dice, asked = random.Random(1), []
        with side.workers(PROCESSES, SLOTS):
            for number in range(given.jobs):
                time.sleep(dice.uniform(0.1, 0.5))
                asked.append(time.time())
                side.send(number)
                side.spans([number], within_s=30)
            began = {side.name: [span.began for span in side.spans(range(given.jobs), within_s=30)]}
            if isinstance(side, Ours):
                began[CALL] = side.calls(range(given.jobs))
        for name, instants in began.items():
            found = [(start - call) * 1000 for start, call in zip(instants, asked, strict=True)]
            waits.setdefault(name, []).extend(found)
            tails.setdefault(name, []).append(p99(found))
        return statistics.median(waits[side.name][-given.jobs :])

    with sides(given.only) as (ours, guests):
        medians = in_turns([ours, *guests], given.rounds, measure)
    for name, found in waits.items():
        print(
            f"{name:<28} median {statistics.median(found):8.2f} ms   p99 {p99(found):8.2f} ms"
            f"   p99 of rounds {ranged(tails[name], 1)}   n={len(found)}"
        )
        keep(given.json, "start-latency-p99", name, tails[name])
    for guest in guests:
        pairs = [mine / theirs for mine, theirs in zip(medians[ours.name], medians[guest.name], strict=True)]
        print(f"median, ours ÷ {guest.name:<16} {ranged(pairs, 2)}")
        keep(given.json, "start-latency", guest.name, pairs)


if __name__ == "__main__":
    main()
