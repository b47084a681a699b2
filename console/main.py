"""The ``headrace`` command. This module imports little, so that it can end quietly while the rest is imported."""

from __future__ import annotations

import sys

try:
    from console.terminal.interrupt import quiet_interrupt
except KeyboardInterrupt:
    sys.exit(130)


def main() -> int:
    """Run the command line; the exit code (docs/reference/cli.md lists them)."""
    with quiet_interrupt():
        from console import command_line
    return command_line.run()


if __name__ == "__main__":
    sys.exit(main())
