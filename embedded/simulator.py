"""The provider simulator as a private service: it replaces OpenAI and Anthropic where no key is set."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from embedded.paths import Paths
from embedded.server import PORT, Server

OPENAI_KEY = "sim-openai"
ANTHROPIC_KEY = "sim-anthropic"
_READY_WITHIN_S = 60.0


def url(place: Paths) -> str | None:
    """Its address, or its last one; ``None`` if it never ran here."""
    number = port(place)
    return None if number is None else f"http://127.0.0.1:{number}"


def port(place: Paths) -> int | None:
    """The port of that URL."""
    try:
        return int(place.port_file.read_text())
    except (OSError, ValueError):
        return None


def prepare(place: Paths, root: Path, environment: Mapping[str, str], request: str) -> Server:
    """Describe how to run it.

    :param root: the folder that ``console`` is imported from.
    """
    return Server(
        name="simulator",
        request=request,
        argv=(sys.executable, "-m", "simulator", "--port", PORT, "--port-file", str(place.port_file)),
        cwd=str(root),
        env=dict(environment),
        uid=os.geteuid(),
        gid=os.getegid(),
        log=str(place.logs / "simulator.log"),
        ready="port",
        ready_file=str(place.port_file),
        ready_within_s=_READY_WITHIN_S,
    )
