"""``python -m tests.chaos --seeds N``: so many random schedules, one after the other; exits 1 when a promise broke."""

from __future__ import annotations

import argparse
import logging
import random
import sys

import structlog

from tests.chaos.run import Report, run
from tests.chaos.stage import ground, needs_root_or_own_user


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many schedules")
    parser.add_argument("--seed", type=int, help="the first one's seed, the next ones count up; drawn if left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each goes on making faults, s")
    parser.add_argument("--show", action="store_true", help="print each schedule's actions, and which were missed")
    parser.add_argument("--keep", action="store_true", help="keep the logs of schedules that broke nothing, too")
    given = parser.parse_args()
    assert needs_root_or_own_user(), "the servers run as another user, whose processes cannot be signalled"

    # this process's own producer has much to say while everything fails
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    first = random.randrange(1_000_000) if given.seed is None else given.seed
    print(f"{given.seeds} schedules of {given.seconds:g} s from seed {first}", flush=True)
    broken: list[Report] = []
    with ground() as here:
        for seed in range(first, first + given.seeds):
            report = run(here, seed, seconds=given.seconds, keep=given.keep)
            print(report, flush=True)
            if given.show:
                print("\n".join(f"    {action}" for action in report.actions), flush=True)
                print("\n".join(f"    missed {one}" for one in report.missed), flush=True)
            if report.breaches:
                broken.append(report)
                print("\n".join(f"    BREACH {one}" for one in report.breaches), flush=True)
                print(f"    play it again: {report.replay()}", flush=True)
            if report.breaches or given.keep:
                print(f"    logs: {here.directory}/chaos_{seed}", flush=True)
    print(f"{len(broken)} of {given.seeds} schedules broke a promise", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
