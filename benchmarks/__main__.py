"""Every benchmark, one after the other: ``make bench``. One alone: ``python -m benchmarks.take``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = ("__init__", "__main__", "rig", "figures", "plots")


def main() -> int:
    here = Path(__file__).parent
    names = sorted(
        [file.stem for file in here.glob("*.py") if file.stem not in NOT_BENCHMARKS]
        + [file.parent.name for file in here.glob("*/__main__.py")]
    )
    failed = []
    for name in names:
        print(f"\n== python -m benchmarks.{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
