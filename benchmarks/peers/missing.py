"""A kind word where a package that only benchmarks need is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told_what_to_install() -> Iterator[None]:
    """Exit with what to do when an import inside finds no such package."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"This benchmark needs {error.name}, which is in the dependency group `bench`."
            " `make bench-peers` installs it and runs these benchmarks; alone: `pip install --group bench` (pip 25.1+)."
        ) from error
