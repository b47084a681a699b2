"""``python -m tests.hostile``: attacks one by one and all at once beside 20 ordinary tenants; exits 1 on a breach.

Each play is held against one without an attack, on the same processes just before it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.ground import Ground, ground
from tests.hostile.attacks import ATTACKS
from tests.hostile.play import scene
from tests.support.fleet import Urls

ALL = "all"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument(
        "attacks", nargs="*", help="names of attacks, or 'all' for all at once; each and all if left out"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is played, s")
    parser.add_argument("--ordinary", type=int, default=20, help="how many ordinary tenants")
    parser.add_argument("--seed", type=int, help="drawn if left out")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    broken = 0
    with ground() as here:
        for name in given.attacks or [*ATTACKS, ALL]:
            broken += _breaks(here, name, given, seed)
    return 1 if broken else 0


def _breaks(here: Ground, name: str, given: argparse.Namespace, seed: int) -> bool:
    database = f"hostile_{name}"
    owner = here.endpoints.require_owner()
    here.retry(lambda c: c.execute(f"drop database if exists {database} with (force)"), url=owner)
    here.retry(lambda c: c.execute(f"create database {database} template chaos_template"), url=owner)
    urls = Urls(
        app=here.url("headrace_app", database),
        ops=here.url("headrace_ops", database),
        owner=here.url("postgres", database),
        producer=here.url("headrace_producer", database),
        redis=here.endpoints.redis_url,
    )
    with (
        tempfile.TemporaryDirectory(prefix="headrace-hostile-") as logs,
        scene(urls, Path(logs), ordinary=given.ordinary) as on,
    ):
        on.play((), seconds=3, seed=seed)  # so that all caches are warm
        without = on.play((), seconds=given.seconds / 2, seed=seed)
        beside = on.play(tuple(ATTACKS) if name == ALL else (name,), seconds=given.seconds, seed=seed)
        breaches = on.judge()
    ratio = beside.p99_s / without.p99_s
    print(f"{name}: p99 {ratio:.2f} of {1000 * without.p99_s:.0f} ms; {beside}; {len(breaches)} breaches", flush=True)
    print("".join(f"    BREACH {one}\n" for one in breaches), end="", flush=True)
    here.retry(lambda c: c.execute(f"drop database {database} with (force)"), url=owner)
    return bool(breaches)


if __name__ == "__main__":
    sys.exit(main())
