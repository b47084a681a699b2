"""A place where the light client is installed as a service has it: its wheel, psycopg, what is asked for, no Headrace.

Nothing comes from the network. The client is built from the tree and unpacked by pip; the rest is linked from this
environment. Programs run with ``python -S``, which sees the standard library and what PYTHONPATH names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients" / "python"


@dataclass(frozen=True)
class Place:
    """Where the packages are, and the wheel of the client."""

    packages: Path
    wheel: Path

    def environment(self, *folders: Path, **variables: str) -> dict[str, str]:
        """What a program there is started with; ``folders`` come before the packages."""
        path = os.pathsep.join(str(one) for one in (*folders, self.packages))
        return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def command(self, *arguments: str) -> list[str]:
        """``python`` there."""
        return [sys.executable, "-S", *arguments]

    def run(self, *arguments: str, cwd: Path, **variables: str) -> str:
        """What a program prints that has to end well."""
        done = subprocess.run(
            self.command(*arguments), cwd=cwd, env=self.environment(**variables), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        return done.stdout


def install(folder: Path, *, beside: Iterable[str] = ()) -> Place:
    """Build the client, and install it with psycopg and with what is ``beside`` it."""
    source, packages = folder / "source", folder / "packages"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("__pycache__", "examples"))
    _pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("headrace_client-*.whl")
    _pip("install", "--no-deps", "--no-index", "--no-compile", "--target", str(packages), str(wheel))
    for name in _closure(["psycopg", "psycopg-binary", *beside]):
        for file in distribution(name).files or ():
            top = file.parts[0]
            there = Path(str(distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and there.exists() and not (packages / top).is_symlink():
                (packages / top).symlink_to(there)
    return Place(packages, wheel)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def _closure(names: Iterable[str]) -> set[str]:
    """The distributions and those that they need, as far as they are installed here."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = re.sub(r"[-_.]+", "-", ahead.pop()).lower()
        if name in found:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        for need in needs:
            if "extra ==" not in need:
                ahead.append(re.split(r"[^A-Za-z0-9_.-]", need, maxsplit=1)[0])
    return found
