"""``python -m tests.chaos --seeds N``: so many random schedules, one after the other; exits 1 when a promise broke."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import traceback

import structlog

from tests.chaos.ground import Ground, ground, may_signal_servers
from tests.chaos.run import run
from tests.chaos.schedule import deal


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many schedules")
    parser.add_argument("--seed", type=int, help="the first one's seed, the next ones count up; drawn if left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each goes on making faults, s")
    parser.add_argument("--show", action="store_true", help="print each schedule's actions, and which were missed")
    parser.add_argument("--keep", action="store_true", help="keep the logs of schedules that broke nothing, too")
    given = parser.parse_args()
    assert may_signal_servers(), "the servers run as another user, whose processes cannot be signalled"

    # this process's own producer has much to say while everything fails
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    first = random.randrange(1_000_000) if given.seed is None else given.seed
    print(f"{given.seeds} schedules of {given.seconds:g} s from seed {first}", flush=True)
    broken = 0
    with ground() as here:
        for seed in range(first, first + given.seeds):
            broken += not _plays_well(here, seed, given)
    print(f"{broken} of {given.seeds} schedules broke a promise", flush=True)
    return 1 if broken else 0


def _plays_well(here: Ground, seed: int, given: argparse.Namespace) -> bool:
    """Play one schedule and tell what came of it; whether every promise was kept."""
    if given.show:
        print("\n".join(f"    {action}" for action in deal(seed, seconds=given.seconds)), flush=True)
    try:
        report = run(here, seed, seconds=given.seconds, keep=given.keep)
    except Exception:  # noqa: BLE001 (that it does not come to an end is a finding, too, and the next one shall be played)
        traceback.print_exc(file=sys.stdout)
        breaches = [f"seed {seed} did not come to its end"]
    else:
        print(report, flush=True)
        if given.show:
            print("\n".join(f"    missed {one}" for one in report.missed), flush=True)
        breaches = report.breaches
    if breaches:
        print("\n".join(f"    BREACH {one}" for one in breaches), flush=True)
        print(
            f"    play it again: python -m tests.chaos --seed {seed} --seeds 1 --seconds {given.seconds:g}", flush=True
        )
    if breaches or given.keep:
        print(f"    logs: {here.directory}/chaos_{seed}", flush=True)
    return not breaches


if __name__ == "__main__":
    sys.exit(main())
