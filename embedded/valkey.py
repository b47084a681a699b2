"""The private Valkey. It carries hints only, so it keeps nothing on disk."""

from __future__ import annotations

from urllib.parse import quote

from embedded import binaries
from embedded.account import Account
from embedded.paths import Paths
from embedded.server import Server

_READY_WITHIN_S = 30.0


def url(place: Paths) -> str:
    """The URL of the private Valkey."""
    return f"unix://{quote(str(place.valkey_socket))}"


def prepare(place: Paths, account: Account, request: str) -> Server:
    """Describe how to run it.

    :raises ConfigurationError: the program cannot run.
    """
    settings = {
        "port": "0",
        "unixsocket": str(place.valkey_socket),
        "unixsocketperm": "700",
        "protected-mode": "yes",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "set-proc-title": "no",  # a later start recognises it by its arguments
    }
    return Server(
        name="redis",
        request=request,
        argv=(
            str(binaries.valkey(account)),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ),
        cwd=str(place.home),
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        log=str(place.logs / "valkey.log"),
        ready="ping",
        ready_file=str(place.valkey_socket),
        ready_within_s=_READY_WITHIN_S,
        uid=account.uid,
        gid=account.gid,
        scratch=None if place.sockets.parent == place.home else str(place.sockets),
    )
