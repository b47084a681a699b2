"""``python -m simulator``: serve in the foreground, for programs that start the simulator themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from errors import ConfigurationError
from simulator.server import serve


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, picks a free one")
    parser.add_argument("--port-file", type=Path, help="file to which the port is written once the server listens")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random faults and latencies")
    given = parser.parse_args(arguments)
    try:
        serve(port=given.port, port_file=given.port_file, seed=given.seed)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
